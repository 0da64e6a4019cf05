use super::*;
use crate::accounts::saying::SAID;
use crate::accounts::waiting::KEYS_PER_USER_MAX;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

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
            let mut book = Book::new(Signers { side, own, peer }, rules, BTreeMap::new(), TIMEOUT);
            book.link_up(now);
            book
        });
        Two { books, now, answers: Default::default(), said: Default::default(), others: Default::default() }
    }

    fn at(&mut self, side: usize, act: impl FnOnce(&mut Book, Instant, &mut Vec<Effect>)) {
        let mut out = Vec::new();
        act(&mut self.books[side], self.now, &mut out);
        self.books[side].speak(usize::MAX, self.now, &mut out);
        for effect in out {
            match effect {
                Effect::Answer(ticket, outcome) => self.answers[side].push((ticket.index, outcome)),
                Effect::Say(signed) => self.said[side].push(signed),
                other => self.others[side].push(other),
            }
        }
    }

    fn register(&mut self, side: usize, user: u32, number: u8, epoch: u32) {
        self.register_from(1, side, user, number, epoch);
    }

    fn register_from(&mut self, address: u64, side: usize, user: u32, number: u8, epoch: u32) {
        let (user, epoch, key, ticket) = (UserId(user), Epoch(epoch), key(number), ticket(number.into()));
        let registration = Registration { ticket, address, group: GROUP, epoch, user, key };
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
        assert!((0..2).all(|side| two.codes(side).is_empty()), "the right one may come yet");
        two.expire();
        // S1 signed none, so that is all that S2 knows.
        for (side, code) in [(0, Code::KeysUnequal), (1, Code::RegistrationHalf)] {
            assert_eq!(two.codes(side), [Some(code)], "S{}", side + 1);
            assert!(two.books[side].accounts().is_empty());
        }
        // Both numbers and both keys are free again.
        two.register(0, 7, 2, 0);
        two.register(1, 7, 2, 0);
        two.settle();
        assert_eq!((two.codes(0), two.codes(1)), (vec![None], vec![None]));
    }
}

#[test]
fn a_bad_signature_of_the_other_server_ends_a_registration() {
    let mut two = Two::new(true);
    two.register(1, 7, 1, 0);
    let mut signed = two.said[1].pop().unwrap();
    // What S2 signed, said by S1: not S1's signature.
    two.at(1, |book, now, out| book.signed(&signed, now, out));
    assert_eq!(two.codes(1), [Some(Code::RegistrationWrong)]);
    assert!(two.others[1].iter().any(|effect| matches!(effect, Effect::SignedFalse(_))));
    // A point of small order, for which anybody can sign.
    signed.key = [0; 32];
    signed.key[0] = 1;
    for side in 0..2 {
        two.register(side, 7, 1, 0);
        two.at(side, |book, now, out| book.signed(&signed, now, out));
        assert_eq!(two.codes(side), [Some(Code::RegistrationWrong)]);
    }
}

#[test]
fn whoever_registers_at_one_server_alone_takes_nothing() {
    for side in 0..2 {
        let mut two = Two::new(true);
        two.register(side, 7, 1, 0);
        two.settle();
        two.expire();
        assert_eq!(two.codes(side), [Some(Code::RegistrationHalf)]);
        assert!(two.books[side].accounts().is_empty());
        (0..2).for_each(|side| two.register(side, 7, 2, 0));
        two.settle();
        assert_eq!((two.codes(0), two.serves(1, 7)), (vec![None], Some(key(2))));
    }
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
    two.at(0, |book, now, _| book.link_up(now));
    assert_eq!(two.said[0].len(), 2);
    two.now += SAID;
    two.settle();
    (0..2).for_each(|side| assert_eq!(two.serves(side, 8), Some(key(2))));
}

/// Strangers cannot fill it for the operator.
#[test]
fn a_group_has_only_so_many_accounts_but_those_that_its_operator_adds() {
    let mut two = Two::new(true);
    let most = 2 * ACCOUNTS_PER_MEMBER_MAX as u32;
    let users: Vec<(u32, u8)> = (0..most).map(|user| (user, user as u8 + 1)).collect();
    assert_eq!(two.add(0, &users), Ok(users.len()));
    two.register(0, 90, 90, 0);
    assert_eq!(two.codes(0), [Some(Code::GroupFull)]);
    assert_eq!(two.add(0, &[(90, 90)]), Ok(1));
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

/// The link goes while a registration waits: what was said to the other server was not heard, and is said again if the link
/// is back in time.
#[test]
fn a_registration_outlives_a_link_that_is_back_in_time() {
    let mut two = Two::new(true);
    two.register(1, 7, 1, 0);
    // Lost with the link.
    assert_eq!(std::mem::take(&mut two.said[1]).len(), 1);
    two.at(1, |book, _, _| book.link_down());
    two.now += TIMEOUT / 2;
    two.register(0, 7, 1, 0);
    (0..2).for_each(|side| {
        two.at(side, |book, now, out| {
            book.expire(now, out);
            book.link_up(now);
        });
    });
    two.settle();
    assert_eq!((two.codes(0), two.codes(1)), (vec![None], vec![None]));
    assert_eq!([0, 1].map(|side| two.serves(side, 7)), [Some(key(1)); 2]);
}

#[test]
fn a_registration_whose_link_stays_away_ends_and_leaves_nothing() {
    let mut two = Two::new(true);
    two.register(0, 7, 1, 0);
    let begun = two.now;
    // Others ask for the same meanwhile: that is no reason to wait for longer.
    for step in 1..4 {
        two.now = begun + TIMEOUT * step / 4;
        two.register(0, 7, 1, 0);
        two.at(0, |book, now, out| book.expire(now, out));
        assert!(two.codes(0).is_empty(), "it waits");
    }
    two.now = begun + TIMEOUT - Duration::from_nanos(1);
    two.at(0, |book, now, out| book.expire(now, out));
    assert!(two.codes(0).is_empty(), "to the very end");
    two.now = begun + TIMEOUT;
    two.at(0, |book, now, out| book.expire(now, out));
    assert_eq!(two.codes(0), [Some(Code::RegistrationHalf); 4], "whoever asked is told");
    assert!(two.books[0].accounts().is_empty());
    assert_eq!(two.books[0].pending(), 0);
    two.at(0, |book, now, _| book.link_up(now));
    assert!(two.said[0].is_empty(), "nobody is left of whom something could be said");
    // Neither the number nor the key is taken.
    two.said = Default::default();
    (0..2).for_each(|side| two.register(side, 7, 2, 0));
    (0..2).for_each(|side| two.register(side, 8, 1, 0));
    two.settle();
    assert_eq!((two.codes(0), two.codes(1)), (vec![None; 2], vec![None; 2]));
}

/// What the other server signed long ago, for somebody who never came here, makes no account by itself.
#[test]
fn what_the_other_server_said_is_forgotten_like_a_registration() {
    let mut two = Two::new(true);
    two.register(1, 7, 1, 0);
    two.settle();
    assert_eq!(two.books[0].offers.len(), 1);
    two.now += TIMEOUT - Duration::from_nanos(1);
    two.at(0, |book, now, out| book.expire(now, out));
    assert_eq!(two.books[0].offers.len(), 1);
    two.expire();
    assert!(two.books[0].offers.is_empty());
    two.said = Default::default();
    two.register(0, 7, 1, 0);
    assert!(two.codes(0).is_empty() && two.serves(0, 7).is_none(), "it waits for the other server again");
}

/// A server that says one key after the other for users of whom nobody has heard, and strangers who register one user after
/// the other at one server alone, fill what there is room for and no more.
#[test]
fn what_waits_for_the_other_side_is_bounded_on_both_sides() {
    let mut two = Two::new(true);
    // Of sixteen accounts each address may wait for four, and all of them for sixteen.
    let mut user = 0;
    for (address, most) in [(1, 4), (2, 4), (3, 4), (4, 4), (5, 0)] {
        for nth in 0..6 {
            user += 1;
            two.register_from(address, 1, user, user as u8, 0);
            let full = Vec::from_iter((nth >= most).then_some(Some(Code::StrangersFull)));
            assert_eq!(two.codes(1), full, "address {address}, registration {nth}");
        }
    }
    // Who waits may come as often as it likes.
    two.register(1, 1, 1, 0);
    assert!(two.codes(1).is_empty());
    assert_eq!((two.books[1].pending(), two.said[1].len()), (16, 16));
    let until = two.now + TIMEOUT;
    let offer = Offer { key: key(9), epoch: Epoch(0), signature: [0; SIGNATURE_BYTES], until };
    for user in 100..84 + REGISTRATIONS_PENDING_MAX as u32 {
        two.books[0].offers.insert(((GROUP, UserId(user)), key(9).to_bytes()), offer);
    }
    two.settle();
    assert_eq!(two.books[0].offers.len(), REGISTRATIONS_PENDING_MAX);
    let late = statements::key(GROUP, Epoch(0), UserId(99), &key(2));
    let late = KeySigned {
        group: GROUP.0.into(),
        epoch: 0.into(),
        user: 99.into(),
        reserved: 0.into(),
        key: key(2).to_bytes(),
        signature: seed(101).sign(&late),
    };
    two.at(0, |book, now, out| book.signed(&late, now, out));
    assert!(two.books[0].offers.range(of((GROUP, UserId(99)))).next().is_none(), "there is no room");
    two.register(0, 1, 1, 0);
    two.settle();
    assert_eq!(two.serves(1, 1), Some(key(1)), "who had room has an account");
    two.expire();
    assert!(two.books[0].offers.is_empty() && two.books[1].pending() == 0);
}

/// Whoever comes to one server with somebody else's number and a key of its own, as often as it likes, keeps nobody out.
#[test]
fn a_stranger_at_one_server_keeps_no_number_from_its_owner() {
    for (squatted, first) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut two = Two::new(true);
        let (stranger, owner) = (9, 1);
        two.register_from(66, squatted, 7, stranger, 0);
        two.settle();
        for side in [first, 1 - first] {
            two.register_from(66, squatted, 7, stranger, 0);
            two.register(side, 7, owner, 0);
            two.register_from(66, squatted, 7, stranger, 0);
            two.settle();
        }
        let what = format!("squatted S{}, first S{}", squatted + 1, first + 1);
        for side in 0..2 {
            assert_eq!(two.serves(side, 7), Some(key(owner)), "{what}");
            let answers = std::mem::take(&mut two.answers[side]);
            for (index, outcome) in answers {
                let code = outcome.err();
                assert_eq!(code.is_none(), index == usize::from(owner), "{what}: {code:?}");
            }
        }
    }
}

/// However registrations with several keys and what the servers say cross each other, both keep one key, the same.
#[test]
fn of_several_keys_for_one_number_both_servers_keep_the_same() {
    for seed in 0..300 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut two = Two::new(true);
        let mut to_come: Vec<(usize, u8)> =
            (1..=KEYS_PER_USER_MAX as u8).flat_map(|number| [(0, number), (1, number)]).collect();
        while !to_come.is_empty() {
            match rng.random_range(0..3) {
                0 => {
                    let (side, number) = to_come.swap_remove(rng.random_range(0..to_come.len()));
                    two.register_from(number.into(), side, 7, number, 0);
                }
                one_or_two => {
                    let side = one_or_two - 1;
                    if !two.said[side].is_empty() {
                        let signed = two.said[side].remove(0);
                        two.at(1 - side, |book, now, out| book.signed(&signed, now, out));
                    }
                }
            }
            let kept = [0, 1].map(|side| two.serves(side, 7));
            assert!(kept[0].is_none() || kept[1].is_none() || kept[0] == kept[1], "seed {seed}");
        }
        two.settle();
        let kept = [0, 1].map(|side| two.serves(side, 7));
        assert!(kept[0].is_some() && kept[0] == kept[1], "seed {seed}: {kept:?}");
        for side in 0..2 {
            let answered = two.codes(side).iter().filter(|code| code.is_none()).count();
            assert_eq!((answered, two.books[side].pending()), (1, 0), "seed {seed}, S{}", side + 1);
        }
    }
}

/// Who comes to S1 alone makes it say nothing, and who comes to S2 alone a word once.
#[test]
fn strangers_make_a_server_say_one_word_of_each_key_at_the_most() {
    let mut two = Two::new(true);
    for (side, most) in [(0, 0), (1, 1)] {
        (0..50).for_each(|_| two.register(side, 7, 1, 0));
        assert_eq!(two.said[side].len(), most);
        two.said[side].clear();
    }
    // Many accounts of an operator's are said at a pace, too.
    let (mut said, mut out) = (0, Vec::new());
    let [mut book, _] = Two::new(true).books;
    let users = (0..5_000).map(|user| ((GROUP, UserId(user)), Account::new(key(1), Epoch(0))));
    book.accounts = users.collect();
    let mut now = two.now;
    book.link_up(now);
    while book.has_to_say() {
        book.speak(usize::MAX, now, &mut out);
        let at_once = std::mem::take(&mut out).len();
        assert!(at_once <= 1 + crate::accounts::saying::KEYS_SAID_AT_ONCE_MAX as usize, "{at_once}");
        said += at_once;
        now += Duration::from_millis(10);
    }
    assert_eq!(said, 5_000);
}

/// A registry that was lost at one server: its users register again at both, and have what they had.
#[test]
fn whose_account_one_server_lost_registers_again() {
    for lost in 0..2 {
        let mut two = Two::new(true);
        (0..2).for_each(|side| two.register(side, 7, 1, 0));
        two.settle();
        std::mem::swap(&mut two.books[lost], &mut Two::new(true).books[lost]);
        two.now += SAID;
        (0..2).for_each(|side| two.register(side, 7, 1, 0));
        two.settle();
        assert_eq!([0, 1].map(|side| two.serves(side, 7)), [Some(key(1)); 2], "S{}", lost + 1);
    }
}
