use super::*;

const GROUP: GroupId = GroupId(4);
const TIMEOUT: Duration = Duration::from_secs(10);

fn seed(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn key(number: u8) -> VerifyingKey {
    seed(number).verifying_key()
}

fn ticket(index: usize) -> Ticket {
    Ticket { front: 0, connection: ConnectionId(1), index }
}

/// Two servers' books, and what they say to each other.
struct Two {
    books: [Book; 2],
    now: Instant,
    /// By server: what it was answered, oldest first.
    answers: [Vec<(usize, Outcome)>; 2],
    /// By server: keys on their way to the other.
    said: [Vec<KeySigned>; 2],
    /// Everything else that came, by server.
    others: [Vec<Effect>; 2],
}

impl Two {
    fn new(open: bool) -> Two {
        let now = Instant::now();
        let books = ServerSide::BOTH.map(|side| {
            let keys = ServerSide::BOTH.map(|side| seed(100 + side.index() as u8));
            let peer = Some(keys[side.other().index()].verifying_key());
            let own = Arc::new(SigningKey::from_seed(&[100 + side.index() as u8; 32]));
            let rules = HashMap::from([(GROUP, Rules::new(open, false, 2))]);
            Book::new(Signers { side, own, peer }, rules, BTreeMap::new(), TIMEOUT)
        });
        Two { books, now, answers: Default::default(), said: Default::default(), others: Default::default() }
    }

    fn at(&mut self, side: usize, act: impl FnOnce(&mut Book, Instant, &mut Vec<Effect>)) {
        let mut out = Vec::new();
        act(&mut self.books[side], self.now, &mut out);
        for effect in out {
            match effect {
                Effect::Answer(ticket, outcome) => self.answers[side].push((ticket.index, outcome)),
                Effect::Say(signed) => self.said[side].push(signed),
                other => self.others[side].push(other),
            }
        }
    }

    fn register(&mut self, side: usize, user: u32, number: u8, epoch: u32) {
        let (user, epoch, key) = (UserId(user), Epoch(epoch), key(number));
        let registration = Registration { ticket: ticket(number.into()), group: GROUP, epoch, user, key };
        self.at(side, |book, now, out| book.register(registration, now, out));
    }

    /// Delivers what is said until nothing more is.
    fn settle(&mut self) {
        for _ in 0..20 {
            for side in 0..2 {
                for signed in std::mem::take(&mut self.said[side]) {
                    self.at(1 - side, |book, now, out| book.signed(&signed, now, out));
                }
            }
        }
        assert!(self.said.iter().all(Vec::is_empty), "they never stop talking");
    }

    fn codes(&mut self, side: usize) -> Vec<Option<Code>> {
        std::mem::take(&mut self.answers[side]).into_iter().map(|(_, outcome)| outcome.err()).collect()
    }

    fn expire(&mut self) {
        self.now += TIMEOUT;
        (0..2).for_each(|side| self.at(side, |book, now, out| book.expire(now, out)));
    }

    fn add(&mut self, side: usize, users: &[(u32, u8)]) -> Result<usize, String> {
        let users: Vec<_> = users.iter().map(|(user, number)| (UserId(*user), key(*number))).collect();
        let mut result = Ok(0);
        self.at(side, |book, now, out| result = book.add(GROUP, Epoch(0), &users, now, out));
        result
    }

    fn serves(&self, side: usize, user: u32) -> Option<VerifyingKey> {
        let book = &self.books[side];
        let account = book.accounts().get(&(GROUP, UserId(user)))?;
        book.serves(GROUP, account).then_some(account.key)
    }
}

#[test]
fn both_servers_sign_what_both_were_given() {
    for first in 0..2 {
        let mut two = Two::new(true);
        two.register(first, 7, 1, 0);
        two.settle();
        assert!(two.codes(first).is_empty() && two.serves(first, 7).is_none(), "half an account is none");
        two.register(1 - first, 7, 1, 0);
        two.settle();
        for side in 0..2 {
            let (_, outcome) = two.answers[side].pop().expect("an answer");
            let (epoch, signatures) = outcome.unwrap();
            let statement = statements::key(GROUP, epoch, UserId(7), &key(1));
            for signer in 0..2 {
                assert!(key(100 + signer).verify(&statement, &signatures[usize::from(signer)]));
            }
            assert_eq!(two.serves(side, 7), Some(key(1)));
        }
        // Asked again, the same comes at once.
        two.register(first, 7, 1, 0);
        assert_eq!(two.codes(first), [None]);
    }
}

#[test]
fn unequal_keys_are_kept_by_neither() {
    for epochs in [(0, 0), (0, 1)] {
        let mut two = Two::new(true);
        let second = if epochs.0 == epochs.1 { 2 } else { 1 };
        two.register(0, 7, 1, epochs.0);
        two.register(1, 7, second, epochs.1);
        two.settle();
        for side in 0..2 {
            assert_eq!(two.codes(side), [Some(Code::KeysUnequal)], "S{}", side + 1);
            assert!(two.books[side].accounts().is_empty());
        }
        // Both numbers and both keys are free again.
        two.expire();
        two.register(0, 7, 2, 0);
        two.register(1, 7, 2, 0);
        two.settle();
        assert_eq!((two.codes(0), two.codes(1)), (vec![None], vec![None]));
    }
}

#[test]
fn a_bad_signature_of_the_other_server_ends_a_registration() {
    let mut two = Two::new(true);
    two.register(0, 7, 1, 0);
    let mut signed = two.said[0].pop().unwrap();
    // What S1 signed, said by S2: not S2's signature.
    two.at(0, |book, now, out| book.signed(&signed, now, out));
    assert_eq!(two.codes(0), [Some(Code::RegistrationWrong)]);
    assert!(two.others[0].iter().any(|effect| matches!(effect, Effect::SignedFalse(_))));
    // A point of small order, for which anybody can sign.
    signed.key = [0; 32];
    signed.key[0] = 1;
    two.register(0, 7, 1, 0);
    two.at(0, |book, now, out| book.signed(&signed, now, out));
    assert_eq!(two.codes(0), [Some(Code::RegistrationWrong)]);
}

#[test]
fn whoever_registers_at_one_server_alone_takes_nothing() {
    let mut two = Two::new(true);
    two.register(0, 7, 1, 0);
    two.settle();
    two.expire();
    assert_eq!(two.codes(0), [Some(Code::RegistrationHalf)]);
    assert!(two.books[0].accounts().is_empty());
    (0..2).for_each(|side| two.register(side, 7, 2, 0));
    two.settle();
    assert_eq!((two.codes(0), two.serves(1, 7)), (vec![None], Some(key(2))));
}

#[test]
fn a_user_has_one_key_and_a_key_one_user() {
    let mut two = Two::new(true);
    (0..2).for_each(|side| two.register(side, 7, 1, 0));
    two.settle();
    (0..2).for_each(|side| assert_eq!(two.codes(side), [None]));
    two.register(0, 7, 2, 0);
    assert_eq!(two.codes(0), [Some(Code::AccountTaken)], "the user has another key");
    two.register(0, 8, 1, 0);
    assert_eq!(two.codes(0), [Some(Code::AccountTaken)], "the key is another user's");
    two.register(0, 9, 3, 0);
    two.register(0, 10, 3, 0);
    assert_eq!(two.codes(0), [Some(Code::AccountTaken)], "also while the other one waits");
    assert!(two.add(0, &[(11, 1)]).unwrap_err().contains("key of its own"));
    assert!(two.add(0, &[(11, 4), (12, 4)]).unwrap_err().contains("key of its own"));
    assert!(two.add(0, &[(11, 4), (7, 2)]).unwrap_err().contains("another key"));
    assert_eq!(two.books[0].accounts().len(), 1, "all or none");
}

#[test]
fn closed_groups_take_what_the_operators_added() {
    let mut two = Two::new(false);
    two.register(0, 7, 1, 0);
    assert_eq!(two.codes(0), [Some(Code::RegistrationClosed)]);
    assert_eq!(two.add(0, &[(7, 1), (8, 2)]), Ok(2));
    two.settle();
    assert_eq!(two.serves(0, 7), None, "the other operator has not");
    // Long after.
    two.expire();
    two.register(0, 7, 1, 0);
    assert_eq!(two.add(1, &[(8, 2), (7, 1)]), Ok(2));
    two.settle();
    assert_eq!(two.codes(0), [None], "who waited has its certificate");
    assert_eq!((two.serves(0, 8), two.serves(1, 8)), (Some(key(2)), Some(key(2))));
    assert_eq!(two.add(1, &[(8, 2)]), Ok(0), "the same again is nothing new");
    two.register(1, 8, 3, 0);
    assert_eq!(two.codes(1), [Some(Code::AccountTaken)]);
}

#[test]
fn a_new_key_serves_once_both_operators_gave_it() {
    let mut two = Two::new(false);
    (0..2).for_each(|side| assert_eq!(two.add(side, &[(7, 1)]), Ok(1)));
    two.settle();
    let who = (GROUP, UserId(7));
    for side in 0..2 {
        two.at(side, |book, now, out| {
            assert!(book.rotate(who, key(1), None, now, out).unwrap_err().contains("has"));
            assert_eq!(book.rotate(who, key(2), None, now, out), Ok(Epoch(1)));
        });
        two.settle();
        assert!(two.others[side].iter().any(|effect| matches!(effect, Effect::Revoke(_))));
        assert_eq!(two.serves(0, 7), (side == 1).then(|| key(2)));
    }
    assert_eq!(two.serves(1, 7), Some(key(2)));
    two.at(0, |book, _, out| {
        book.remove(who, out).unwrap();
        assert!(book.remove(who, out).unwrap_err().contains("no account"));
    });
    assert_eq!((two.serves(0, 7), two.books[0].accounts().len()), (None, 0));
}

#[test]
fn what_was_not_heard_is_said_when_the_link_is_up() {
    let mut two = Two::new(false);
    (0..2).for_each(|side| assert_eq!(two.add(side, &[(7, 1), (8, 2)]), Ok(2)));
    two.said = Default::default();
    two.at(0, |book, now, out| {
        let unsigned = book.unsigned();
        assert_eq!(unsigned.len(), 2);
        unsigned.into_iter().for_each(|who| book.say(who, now, out));
    });
    two.now += SAID;
    two.settle();
    (0..2).for_each(|side| assert_eq!(two.serves(side, 8), Some(key(2))));
}

#[test]
fn a_group_has_only_so_many_accounts() {
    let mut two = Two::new(true);
    let most = 2 * ACCOUNTS_PER_MEMBER_MAX as u32;
    let users: Vec<(u32, u8)> = (0..most).map(|user| (user, user as u8 + 1)).collect();
    assert_eq!(two.add(0, &users), Ok(users.len()));
    assert!(two.add(0, &[(90, 90)]).unwrap_err().contains("at the most"));
    two.register(0, 90, 90, 0);
    assert_eq!(two.codes(0), [Some(Code::GroupFull)]);
}

#[test]
fn accounts_that_are_removed_and_added_at_once_come_together() {
    let mut two = Two::new(false);
    for _ in 0..3 {
        // One server after the other, sooner than a server says the same again.
        for side in 0..2 {
            two.now += Duration::from_millis(50);
            two.at(side, |book, _, out| _ = book.remove((GROUP, UserId(1)), out));
            two.add(side, &[(1, 1)]).unwrap();
            two.now += Duration::from_millis(50);
            two.settle();
        }
        assert_eq!([0, 1].map(|side| two.serves(side, 1)), [Some(key(1)); 2]);
    }
}

#[test]
fn a_rotation_to_a_named_epoch_brings_two_servers_together() {
    let mut two = Two::new(false);
    let who = (GROUP, UserId(1));
    (0..2).for_each(|side| _ = two.add(side, &[(1, 1)]).unwrap());
    two.settle();
    // One operator gave up a key that the other never heard of.
    for (side, numbers) in [(0, &[2][..]), (1, &[3, 2])] {
        for number in numbers {
            two.at(side, |book, now, out| _ = book.rotate(who, key(*number), None, now, out).unwrap());
        }
        two.settle();
    }
    assert_eq!([0, 1].map(|side| two.serves(side, 1)), [None; 2]);
    two.at(0, |book, now, out| {
        let mut rotate = |number, epoch| book.rotate(who, key(number), Some(Epoch(epoch)), now, out);
        assert!(rotate(2, 1).unwrap_err().contains("from epoch 1 on"));
        assert!(rotate(2, u32::MAX).unwrap_err().contains("beyond"));
        assert_eq!(rotate(2, 2), Ok(Epoch(2)));
    });
    two.settle();
    let unequal = |effect: &Effect| matches!(effect, Effect::EpochsUnequal(_, [Epoch(1), Epoch(2)]));
    assert!(two.others[0].iter().any(unequal), "the log names both epochs");
    assert_eq!([0, 1].map(|side| two.serves(side, 1)), [Some(key(2)); 2]);
}

#[test]
fn an_epoch_that_there_cannot_be_is_refused() {
    let mut two = Two::new(true);
    two.register(0, 1, 1, u32::MAX);
    assert_eq!(two.codes(0), [Some(Code::RegistrationWrong)]);
    two.at(0, |book, now, out| {
        let refused = book.add(GROUP, Epoch(u32::MAX), &[(UserId(1), key(1))], now, out).unwrap_err();
        assert!(refused.contains("beyond"), "{refused}");
    });
}

#[test]
fn whoever_waits_is_told_when_all_is_void() {
    let mut two = Two::new(true);
    two.register(0, 1, 1, 0);
    two.register(0, 2, 2, 0);
    two.at(0, |book, _, out| book.fail_all(Code::RegistrationHalf, out));
    assert_eq!(two.codes(0), [Some(Code::RegistrationHalf); 2]);
    assert_eq!(two.books[0].pending(), 0);
}
