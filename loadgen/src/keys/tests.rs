//! What hosts and servers derive fits together, and nothing of it is printed.

use super::*;
use crate::plan::tests::answer_plan;
use twincast_protocol::answer::{RECORD_BYTES, RecordContext, record};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber};

fn plan() -> Plan {
    Plan { group: 20, groups: 2, hosts: 2, epoch_rounds: 4, churn: 3, rounds: 9, warmup: 0, ..answer_plan() }
}

#[test]
fn a_record_of_one_host_is_verified_by_the_server_and_opened_by_who_reads_it() {
    let keys = RunKeys::draw(&plan());
    let (host, server) = (keys.host(), keys.server(ServerSide::One));
    let members = server.members().unwrap();
    let of = |group| members[&GroupId(group)].len();
    assert_eq!((members.len(), of(0), of(1)), (2, 26, 26), "two epochs bring three users each");
    for (group, user) in [(0, UserId(0)), (1, UserId(25))] {
        let (author, sender) = (host.members().author(group, user), host.members().sender(group, user));
        let context = RecordContext {
            group: GroupId(group),
            epoch: Epoch(0),
            round: RoundNumber(1),
            sender: MemberIndex(3),
        };
        let mut bytes = [0; RECORD_BYTES];
        let mut rng = rand::rng();
        let readers = Some(author.readers(user));
        record::make(&context, &author.signing, readers, b"to whom it reads", &mut rng, &mut bytes).unwrap();
        assert!(record::verify(&context, &members[&GroupId(group)][&user], &bytes));
        assert!(!record::verify(&context, &members[&GroupId(1 - group)][&user], &bytes));
        assert_eq!((sender.verifying, &sender.seal), (author.signing.verifying_key(), &author.seal));
        assert_eq!(sender.readers(user).recipient_set, author.readers(user).recipient_set);
    }
}

#[test]
fn the_servers_know_each_other_and_hosts_know_no_server() {
    let keys = RunKeys::draw(&plan());
    let [one, two] = ServerSide::BOTH.map(|side| keys.server(side));
    let own = |keys: &ServerKeys| SigningKey::from_seed(&keys.signing.0).verifying_key();
    assert_ne!(own(&one), own(&two));
    assert_eq!((own(&one), own(&two)), (two.peer().unwrap(), one.peer().unwrap()));
    let order = serde_json::to_value(keys.host()).unwrap();
    let fields: Vec<&String> = order.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["channels", "members", "verifying"], "of servers it has public keys alone");
    assert_eq!(keys.host().verifying().unwrap(), [own(&one), own(&two)]);
    let channel = |keys: &ServerKeys| StaticKey::from_bytes(&keys.channel.0).public();
    assert_ne!(channel(&one), channel(&two));
    assert_eq!(keys.host().channels().unwrap(), [channel(&one), channel(&two)]);
    let peers = [&two, &one].map(|keys| keys.peer_channel.bytes().unwrap());
    assert_eq!(peers, [channel(&one), channel(&two)]);
    assert!(one.keys().unwrap().channel.is_some() && one.keys().unwrap().identities.is_some());
}

#[test]
fn users_whom_nobody_knows_have_no_keys_at_the_servers() {
    let open = Plan { channel: crate::plan::ChannelName::Noise, ..crate::plan::tests::plan() };
    let server = RunKeys::draw(&open).server(ServerSide::One);
    assert!(server.members().unwrap().is_empty());
    let registered = Plan { group: 20, ..Plan::default() };
    assert_eq!(RunKeys::draw(&registered).server(ServerSide::Two).members().unwrap()[&GroupId(0)].len(), 20);
}

#[test]
fn every_user_group_and_run_has_keys_of_its_own() {
    let (one, two) = (Secret::random(), Secret::random());
    let of = |secret: &Secret, group, user| secret.sender(group, UserId(user)).verifying.to_bytes();
    let all = [of(&one, 0, 1), of(&one, 1, 0), of(&one, 0, 0), of(&two, 0, 1)];
    let different: std::collections::HashSet<_> = all.into_iter().collect();
    assert_eq!(different.len(), 4);
    assert_eq!(of(&one, 0, 1), of(&one.clone(), 0, 1));
}

#[test]
fn orders_carry_keys_and_debug_shows_none() {
    let keys = RunKeys::draw(&plan());
    let (host, server) = (keys.host(), keys.server(ServerSide::Two));
    let secret = serde_json::to_value(&host).unwrap()["members"].as_str().unwrap().to_owned();
    let signing = serde_json::to_value(&server).unwrap()["signing"].as_str().unwrap().to_owned();
    let channel = serde_json::to_value(&server).unwrap()["channel"].as_str().unwrap().to_owned();
    let line = serde_json::to_string(&server).unwrap();
    assert!(line.contains(&signing) && !line.contains(&secret), "a server has no member's keys");
    let other = serde_json::to_string(&host).unwrap();
    assert!(!other.contains(&signing) && !other.contains(&channel), "a host has no server's key");
    for shown in [format!("{keys:?}"), format!("{host:?}"), format!("{server:?}")] {
        assert!([&secret, &signing, &channel].iter().all(|hidden| !shown.contains(*hidden)), "{shown}");
        assert!(shown.contains("Secret { .. }"), "{shown}");
    }
    let back: ServerKeys = serde_json::from_str(&line).unwrap();
    assert_eq!(back.signing.0, server.signing.0);
    assert_eq!(back.members().unwrap(), server.members().unwrap());
    let error = serde_json::from_str::<Secret>("\"c2VjcmV0\"").unwrap_err().to_string();
    assert!(error.contains("32 bytes") && !error.contains("c2Vj"), "{error}");
}

#[test]
fn what_are_no_verifying_keys_is_refused() {
    let none = PublicKeys(vec![2; KEY_BYTES]);
    assert!(none.single().unwrap_err().starts_with("verifying key 0: "));
    assert!(PublicKeys(vec![0; 33]).all().unwrap_err().contains("33"));
    assert!(PublicKeys(Vec::new()).single().unwrap_err().contains("not 0"));
    assert!(PublicKeys(vec![0; 33]).bytes().unwrap_err().contains("this one 33"));
}
