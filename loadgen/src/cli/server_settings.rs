//! The flags that set both servers up, where that is not the server's own default.

use crate::plan::ServerSettings;
use crate::units::thousands;
use clap::Args;
use twincast_ring::{SLAB_BYTES_MAX, SLAB_BYTES_MIN, SLABS_MAX, SLABS_MIN};
use twincast_server::config::{Cores, CoresNamed, ZeroCopy};
use twincast_server::limits::{SEND_BUFFER_BYTES_MAX, SEND_BUFFER_BYTES_MIN, THREADS_MAX};

/// The highest number of a core that a thread can be pinned to.
const CORE_MAX: usize = 1_023;
/// Front executors of a server in a run.
const EXECUTORS: usize = 1;

/// The flags that set both servers up: keys of a server's configuration (engine/server/twincast-server.toml).
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "How both servers are set up")]
pub struct ServerArgs {
    /// Threads of each server that write to clients, `fan_out.threads` [default: 1]
    #[arg(long, value_name = "T", value_parser = within(1, THREADS_MAX))]
    fan_out_threads: Option<usize>,

    /// Cores that they are pinned to, one a thread: auto, none, or numbers, as in 2,3. Each server takes them on its own
    /// machine: where both are on one, they share them [default: auto where this machine has a core for each thread of a
    /// run, else none]
    #[arg(long, value_name = "CORES", value_parser = cores)]
    fan_out_cores: Option<Cores>,

    /// The core of the executor that takes what clients send, `front.cores`: auto, none, or its number; as with
    /// --fan-out-cores
    #[arg(long, value_name = "CORES", value_parser = cores)]
    front_cores: Option<Cores>,

    /// Bytes of a send, `fan_out.slab_bytes`: a multiple of 4,096 up to 262,144 [default: 262144]
    #[arg(long, value_name = "BYTES", value_parser = slab_bytes)]
    slab_bytes: Option<usize>,

    /// Slabs of each such thread, `fan_out.slabs` [default: 16]
    #[arg(long, value_name = "S", value_parser = within(SLABS_MIN, SLABS_MAX))]
    slabs: Option<usize>,

    /// Whether to send without copying, `fan_out.zero_copy`: auto, on or off [default: auto]
    #[arg(long, value_name = "WHETHER", value_parser = zero_copy)]
    zero_copy: Option<ZeroCopy>,

    /// Bytes from which on a send is worth doing without a copy, `fan_out.zero_copy_bytes_min` [default: 32768]
    #[arg(long, value_name = "BYTES", value_parser = within(1, SLAB_BYTES_MAX))]
    zero_copy_bytes_min: Option<usize>,

    /// Bytes asked for as each client's send buffer, `fan_out.send_buffer_bytes`, up to 536,870,912; 0 is the kernel's own
    /// choice, which grows with the connection [default: 0]
    #[arg(long, value_name = "BYTES", value_parser = send_buffer)]
    send_buffer_bytes: Option<usize>,
}

impl ServerArgs {
    /// How both servers are set up.
    ///
    /// # Errors
    /// A sentence with the flag and the remedy: two flags do not go together.
    pub(super) fn settings(&self) -> Result<ServerSettings, String> {
        let threads = self.fan_out_threads.unwrap_or(1);
        if let Some(Cores::List(list)) = &self.fan_out_cores
            && list.len() != threads
        {
            return Err(format!(
                "--fan-out-cores {} has {} cores and --fan-out-threads is {threads}: each thread has one, so give \
                 --fan-out-threads {}",
                in_words(list),
                list.len(),
                list.len()
            ));
        }
        if let Some(Cores::List(list)) = &self.front_cores
            && list.len() != EXECUTORS
        {
            return Err(format!(
                "--front-cores {} has {} cores and a server has one such executor: give one core, as in --front-cores {}",
                in_words(list),
                list.len(),
                list[0]
            ));
        }
        if self.zero_copy == Some(ZeroCopy::Off) && self.zero_copy_bytes_min.is_some() {
            return Err("--zero-copy-bytes-min says which sends are not copied, and --zero-copy off copies all: leave one \
                        out"
                .into());
        }
        Ok(ServerSettings {
            fan_out_threads: self.fan_out_threads,
            fan_out_cores: self.fan_out_cores.clone(),
            front_cores: self.front_cores.clone(),
            slab_bytes: self.slab_bytes,
            slabs: self.slabs,
            zero_copy: self.zero_copy,
            zero_copy_bytes_min: self.zero_copy_bytes_min,
            send_buffer_bytes: self.send_buffer_bytes,
        })
    }
}

fn in_words(list: &[usize]) -> String {
    list.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// A parser for whole numbers from `least` to `most`.
fn within(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => {
            Err(format!("give a whole number from {} to {}", thousands(least as u64), thousands(most as u64)))
        }
    }
}

fn cores(text: &str) -> Result<Cores, String> {
    let number = |text: &str| text.trim().parse().ok().filter(|core| *core <= CORE_MAX);
    match text {
        "auto" => Ok(Cores::Named(CoresNamed::Auto)),
        "none" => Ok(Cores::Named(CoresNamed::None)),
        list => {
            list.split(',').map(number).collect::<Option<Vec<usize>>>().map(Cores::List).ok_or_else(|| {
                format!(
                    "give auto, none, or the numbers of cores from 0 to {}, as in 2,3",
                    thousands(CORE_MAX as u64)
                )
            })
        }
    }
}

fn slab_bytes(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(bytes)
            if bytes.is_multiple_of(SLAB_BYTES_MIN) && (SLAB_BYTES_MIN..=SLAB_BYTES_MAX).contains(&bytes) =>
        {
            Ok(bytes)
        }
        _ => Err(format!(
            "give a multiple of {} from {} to {}",
            thousands(SLAB_BYTES_MIN as u64),
            thousands(SLAB_BYTES_MIN as u64),
            thousands(SLAB_BYTES_MAX as u64)
        )),
    }
}

fn zero_copy(text: &str) -> Result<ZeroCopy, String> {
    match text {
        "auto" => Ok(ZeroCopy::Auto),
        "on" => Ok(ZeroCopy::On),
        "off" => Ok(ZeroCopy::Off),
        _ => Err("give auto, on or off".into()),
    }
}

fn send_buffer(text: &str) -> Result<usize, String> {
    let some = within(SEND_BUFFER_BYTES_MIN, SEND_BUFFER_BYTES_MAX);
    match text {
        "0" => Ok(0),
        _ => some(text).map_err(|remedy| format!("{remedy}, or 0 for the kernel's own choice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ServerArgs,
    }

    fn settings(line: &str) -> Result<ServerSettings, String> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Line::try_parse_from(words).map_err(|error| error.to_string())?.args.settings()
    }

    #[test]
    fn every_flag_is_a_setting_and_none_is_the_servers_own_default() {
        let all = settings(
            "--fan-out-threads 2 --fan-out-cores 0,1 --front-cores none --slab-bytes 65536 --slabs 8 --zero-copy on \
             --zero-copy-bytes-min 4096 --send-buffer-bytes 1048576",
        );
        let expected = ServerSettings {
            fan_out_threads: Some(2),
            fan_out_cores: Some(Cores::List(vec![0, 1])),
            front_cores: Some(Cores::Named(CoresNamed::None)),
            slab_bytes: Some(65_536),
            slabs: Some(8),
            zero_copy: Some(ZeroCopy::On),
            zero_copy_bytes_min: Some(4_096),
            send_buffer_bytes: Some(1 << 20),
        };
        assert_eq!(all, Ok(expected));
        assert_eq!(settings(""), Ok(ServerSettings::default()));
        assert_eq!(settings("--send-buffer-bytes 0").unwrap().send_buffer_bytes, Some(0));
    }

    #[test]
    fn what_no_server_takes_is_refused_with_the_flag_and_the_remedy() {
        for (line, said) in [
            ("--fan-out-threads 0", ["--fan-out-threads", "from 1 to 256"]),
            ("--fan-out-cores 0,1", ["--fan-out-cores 0,1 has 2 cores", "give --fan-out-threads 2"]),
            ("--fan-out-threads 2 --fan-out-cores 1", ["--fan-out-threads is 2", "give --fan-out-threads 1"]),
            ("--fan-out-cores 1,,2", ["--fan-out-cores", "as in 2,3"]),
            ("--fan-out-cores 1024", ["--fan-out-cores", "from 0 to 1,023"]),
            ("--front-cores 0,1", ["--front-cores 0,1 has 2", "as in --front-cores 0"]),
            ("--slab-bytes 70000", ["--slab-bytes", "a multiple of 4,096 from 4,096 to 262,144"]),
            ("--slab-bytes 524288", ["--slab-bytes", "262,144"]),
            ("--slabs 1", ["--slabs", "from 2 to 1,024"]),
            ("--zero-copy maybe", ["--zero-copy", "auto, on or off"]),
            ("--zero-copy off --zero-copy-bytes-min 1", ["--zero-copy off", "leave one out"]),
            ("--zero-copy-bytes-min 0", ["--zero-copy-bytes-min", "from 1"]),
            ("--send-buffer-bytes 4095", ["from 4,096 to 536,870,912", "or 0"]),
        ] {
            let sentence = settings(line).unwrap_err();
            assert!(said.iter().all(|said| sentence.contains(said)), "{line}: {sentence}");
        }
    }
}
