//! Keys of a plan file as flags of the command line.

use super::{File, FileArgs, Problem};
use crate::coordinator::place::{Deployment, Site};
use clap::{Args as _, CommandFactory as _, Parser as _};
use toml::{Spanned, Value};

/// Flags in the order of the keys.
pub(super) struct Flags {
    words: Vec<String>,
    /// The flags that describe a run.
    known: Vec<clap::Arg>,
    /// Whether hosts are tables of the file.
    placed: bool,
}

impl Flags {
    /// None yet; `placed` if the file has tables of places.
    pub(super) fn new(placed: bool) -> Flags {
        let command = crate::cli::PlanArgs::augment_args(clap::Command::new("run"));
        let known = command.get_arguments().filter(|arg| arg.get_long().is_some()).cloned().collect();
        Flags { words: Vec::new(), known, placed }
    }

    /// A key of `[run]`.
    pub(super) fn put(&mut self, key: &Spanned<String>, value: &Spanned<Value>) -> Result<(), Problem> {
        let name = key.get_ref();
        let flag = name.replace('_', "-");
        let arg = self.known.iter().find(|arg| arg.get_long() == Some(&flag) && !name.contains('-'));
        match arg {
            Some(_) if name == "hosts" && self.placed => Err(Problem::at(
                key.span(),
                "run.hosts follows from how many [[hosts]] there are: leave it out",
            )),
            Some(arg) => {
                let arg = arg.clone();
                self.add("run.", name, &arg, value)
            }
            None => {
                let known = self.known.iter().filter_map(clap::Arg::get_long);
                let known = known.filter(|long| *long != "hosts" || !self.placed);
                let known: Vec<String> = known.map(|long| long.replace('-', "_")).collect();
                let what = format!("unknown key `{name}` in [run]; known are {}", known.join(", "));
                Err(Problem::at(key.span(), what))
            }
        }
    }

    /// A key beside the tables, which is a flag of how often a plan is run.
    pub(super) fn keep(&mut self, key: &str, value: &Spanned<Value>) -> Result<(), Problem> {
        let flag = key.replace('_', "-");
        let command = FileArgs::command();
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(&flag));
        let arg = arg.expect("the key is a flag").clone();
        self.add("", key, &arg, value)
    }

    /// The groups of a sweep.
    pub(super) fn sweep(&mut self, groups: &Spanned<Vec<u32>>) -> Result<(), Problem> {
        if self.has("group") {
            let what = "sweep.group and run.group are both there: leave one out";
            return Err(Problem::at(groups.span(), what));
        }
        let list: Vec<String> = groups.get_ref().iter().map(u32::to_string).collect();
        let word = format!("--group={}", list.join(","));
        one(std::slice::from_ref(&word))
            .map_err(|what| Problem::at(groups.span(), format!("sweep.group: {what}")))?;
        self.words.push(word);
        Ok(())
    }

    /// The experiment's name where the file does not say one: that of the file, as far as a name can be that.
    pub(super) fn name(&mut self, file: &str) {
        let good = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let name: String = file.chars().map(good).take(80).collect();
        if !name.is_empty() {
            self.words.push(format!("--name={name}"));
        }
    }

    /// What follows from where the plan runs.
    pub(super) fn places(&mut self, deployment: &Deployment, file: &File) -> Result<(), Problem> {
        let Deployment { servers, hosts, .. } = deployment;
        let span_of = |key: &str| file.run.keys().find(|name| name.get_ref() == key).map(Spanned::span);
        let is_here = |site: &Site| !site.is_far();
        if let (Some(span), false) =
            (span_of("fault"), servers.iter().chain(hosts).all(|at| is_here(&at.site)))
        {
            return Err(Problem::at(
                span,
                "run.fault breaks something between servers and hosts of this machine: let all be local = true",
            ));
        }
        if let (Some(span), false) = (span_of("box"), is_here(&servers[1].site)) {
            return Err(Problem::at(
                span,
                "run.box is a folder of this machine: let the second of [[servers]] be local = true",
            ));
        }
        let accountable = file.run.iter().find(|(key, _)| key.get_ref() == "accountable");
        let accountable = accountable.filter(|(_, value)| value.get_ref().as_bool() == Some(true));
        if let (Some((key, _)), false) = (accountable, is_here(&servers[1].site)) {
            return Err(Problem::at(
                key.span(),
                "run.accountable takes a box, a folder of this machine: let the second of [[servers]] be local = true",
            ));
        }
        self.words.push(format!("--hosts={}", hosts.len()));
        if !self.has("link") {
            // Nothing is shaped here, and nobody has said how fast the links are.
            let far = servers.iter().chain(hosts).any(|at| at.site.is_far());
            self.words.push(format!("--link={}", if far { "off" } else { "loopback" }));
        }
        Ok(())
    }

    /// All flags, and some more.
    pub(super) fn parse(&self, more: &[String]) -> Result<FileArgs, Problem> {
        let words = self.words.iter().chain(more);
        FileArgs::try_parse_from(words).map_err(|error| sentence(&error).into())
    }

    fn has(&self, flag: &str) -> bool {
        let start = format!("--{flag}=");
        self.words.iter().any(|word| word.starts_with(&start))
    }

    fn add(
        &mut self,
        table: &str,
        key: &str,
        arg: &clap::Arg,
        value: &Spanned<Value>,
    ) -> Result<(), Problem> {
        let flag = arg.get_long().unwrap_or_default();
        let bad = |what: &str| Problem::at(value.span(), format!("{table}{key}: {what}"));
        let words = match (value.get_ref(), arg.get_action().takes_values()) {
            (Value::Boolean(true), false) => vec![format!("--{flag}")],
            (Value::Boolean(false), false) => Vec::new(),
            (_, false) => return Err(bad("give true or false")),
            (Value::String(text), true) => vec![format!("--{flag}={text}")],
            (Value::Integer(number), true) => vec![format!("--{flag}={number}")],
            (Value::Float(number), true) => vec![format!("--{flag}={number}")],
            (Value::Array(_), true) if key == "group" => {
                return Err(bad("a list of group sizes belongs into [sweep], as group = [100, 500]"));
            }
            // As a server's configuration has it.
            (Value::Array(list), true) if key.ends_with("cores") => {
                let list: Vec<String> = list.iter().map(Value::to_string).collect();
                vec![format!("--{flag}={}", list.join(","))]
            }
            (_, true) => return Err(bad("give a number or a word in quotes")),
        };
        one(&words).map_err(|what| bad(&what))?;
        self.words.extend(words);
        Ok(())
    }
}

/// Whether one key by itself can be what it says.
fn one(words: &[String]) -> Result<(), String> {
    FileArgs::try_parse_from(words).map(drop).map_err(|error| sentence(&error))
}

/// What the parser says, in one line.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    first.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ")
}
