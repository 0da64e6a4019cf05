//! Registrations against two servers in memory.

mod model;

use model::{Ends, GROUP};
use rand::SeedableRng;
use rand::rngs::StdRng;
use twincast_client::{Account, ChannelSettings, Registration, RegistrationError};
use twincast_protocol::accountable::Certificate;
use twincast_protocol::channel::ChannelError;
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};
use twincast_protocol::statements::{self, Binding};
use twincast_protocol::wire::{Body, Code, HEADER_BYTES, Register, Registered, RoundEnd};

const S1: ServerSide = ServerSide::One;
const S2: ServerSide = ServerSide::Two;
const ACCOUNT: Account = Account { group: GROUP, user: UserId(9), epoch: Epoch(2) };

/// Both servers' ends, and what they sign with.
struct Servers {
    ends: Option<Ends>,
    keys: [SigningKey; 2],
    rng: StdRng,
    /// How many bytes are given at a time.
    most: usize,
}

impl Servers {
    fn new(seed: u64, private: bool) -> Servers {
        let mut rng = StdRng::seed_from_u64(seed);
        let ends = private.then(|| Ends::new(&mut rng));
        let keys = [SigningKey::random(&mut rng), SigningKey::random(&mut rng)];
        Servers { ends, keys, rng, most: usize::MAX }
    }

    fn registration<'a>(&self, key: &'a SigningKey) -> Registration<'a> {
        let channel = self.ends.as_ref().map_or(ChannelSettings::Plain, Ends::settings);
        Registration::new(&channel, ACCOUNT, key, self.keys.each_ref().map(SigningKey::verifying_key))
    }

    /// What a registration says to a server, once there is a channel.
    fn heard(&mut self, registration: &mut Registration<'_>, side: ServerSide) -> Vec<u8> {
        loop {
            let bytes = registration.outgoing(side, &mut self.rng).to_vec();
            registration.sent(side, bytes.len());
            let Some(ends) = &mut self.ends else { return bytes };
            let (said, answer) = ends.take(0, side, &bytes, &mut self.rng);
            if !said.is_empty() {
                return said;
            }
            assert!(!answer.is_empty(), "a registration that says nothing");
            self.give(registration, side, answer).unwrap();
        }
    }

    fn give(
        &mut self,
        registration: &mut Registration<'_>,
        side: ServerSide,
        mut bytes: Vec<u8>,
    ) -> Result<Option<Certificate>, RegistrationError> {
        while !bytes.is_empty() {
            let space = registration.space(side);
            let some = bytes.len().min(space.len()).min(self.most);
            space[..some].copy_from_slice(&bytes[..some]);
            bytes.drain(..some);
            registration.filled(side, some);
            registration.advance()?;
        }
        registration.advance()
    }

    fn say(
        &mut self,
        registration: &mut Registration<'_>,
        side: ServerSide,
        said: &[u8],
    ) -> Result<Option<Certificate>, RegistrationError> {
        let sealed = match &mut self.ends {
            Some(ends) => ends.seal(0, side, said, &mut self.rng),
            None => said.to_vec(),
        };
        self.give(registration, side, sealed)
    }

    fn signatures(&self, account: Account, key: &SigningKey) -> [[u8; 64]; 2] {
        let Account { group, user, epoch } = account;
        let statement = statements::key(group, epoch, user, &key.verifying_key());
        self.keys.each_ref().map(|server| server.sign(&statement))
    }
}

fn registered(account: Account, signatures: [[u8; 64]; 2]) -> Vec<u8> {
    Registered::new(account.group, account.epoch, account.user, signatures).frame().to_vec()
}

#[test]
fn a_key_that_both_servers_sign_comes_back_with_both_signatures() {
    for (private, most) in [(false, usize::MAX), (true, usize::MAX), (false, 1), (true, 1)] {
        let (mut servers, key) = (Servers::new(1, private), SigningKey::from_seed(&[5; 32]));
        servers.most = most;
        let mut registration = servers.registration(&key);
        for side in ServerSide::BOTH {
            let said = servers.heard(&mut registration, side);
            let (register, of) = Register::read(&said[HEADER_BYTES..]).unwrap();
            assert_eq!((of, register.key), (side, key.verifying_key().to_bytes()));
            let Account { group, user, epoch } = ACCOUNT;
            let said = (register.group.get(), register.user.get(), register.epoch.get());
            assert_eq!(said, (group.0, user.0, epoch.0));
            let binding = servers.ends.as_mut().map_or(Binding::PLAIN, |ends| ends.up(0, side).binding);
            let statement = statements::register(&binding, group, epoch, user, &key.verifying_key());
            assert!(key.verifying_key().verify(&statement, &register.signature));
            assert!(registration.outgoing(side, &mut servers.rng).is_empty(), "it asks once");
        }
        let answer = registered(ACCOUNT, servers.signatures(ACCOUNT, &key));
        assert_eq!(servers.say(&mut registration, S2, &answer), Ok(None));
        assert!(registration.has_answered(S2) && !registration.has_answered(S1));
        let certificate = servers.say(&mut registration, S1, &answer).unwrap().expect("both have answered");
        let verifying = servers.keys.each_ref().map(SigningKey::verifying_key);
        assert!(certificate.verify(ACCOUNT.group, ACCOUNT.user, &verifying));
    }
}

#[test]
fn every_refusal_names_the_server_and_why() {
    for code in Code::ALL {
        let (mut servers, key) = (Servers::new(2, true), SigningKey::from_seed(&[5; 32]));
        let mut registration = servers.registration(&key);
        servers.heard(&mut registration, S2);
        let end = servers.say(&mut registration, S2, &code.frame(u32::MAX, u32::MAX, 0));
        let refused = RegistrationError::Refused { server: S2, code: *code };
        assert_eq!(end, Err(refused.clone()));
        assert!(
            refused.to_string().starts_with("S2 refuses") && refused.to_string().contains(code.sentence())
        );
    }
}

#[test]
fn refusals_before_there_is_a_channel_are_understood() {
    for code in [Code::ChannelUnknown, Code::ChannelWanted, Code::StrangersFull, Code::ConnectionsFull] {
        for private in [false, true] {
            let (mut servers, key) = (Servers::new(3, private), SigningKey::from_seed(&[5; 32]));
            let mut registration = servers.registration(&key);
            assert!(!registration.outgoing(S1, &mut servers.rng).is_empty());
            let end = servers.give(&mut registration, S1, code.frame(0, 0, 0).to_vec());
            let refused = match private {
                true => RegistrationError::RefusedInTheClear { server: S1, code },
                false => RegistrationError::Refused { server: S1, code },
            };
            assert_eq!(end, Err(refused.clone()));
            assert_eq!(refused.to_string().contains("not authenticated"), private, "{refused}");
        }
    }
}

/// Somebody on the way cannot make a user believe anything about an account.
#[test]
fn nothing_about_an_account_is_believed_before_there_is_a_channel() {
    for code in [Code::AccountTaken, Code::NotRegistered, Code::RegistrationClosed, Code::KeysUnequal] {
        let (mut servers, key) = (Servers::new(7, true), SigningKey::from_seed(&[5; 32]));
        let mut registration = servers.registration(&key);
        assert!(!registration.outgoing(S1, &mut servers.rng).is_empty());
        let end = servers.give(&mut registration, S1, code.frame(0, 0, 0).to_vec());
        assert_eq!(end, Err(RegistrationError::Channel { server: S1, reason: ChannelError::NotAChannel }));
    }
}

#[test]
fn a_later_epoch_that_both_servers_signed_is_taken() {
    let key = SigningKey::from_seed(&[5; 32]);
    let later = |epoch| Account { epoch: Epoch(epoch), ..ACCOUNT };
    for (epochs, taken) in [([7, 7], true), ([7, 8], false), ([2, 7], false)] {
        let mut servers = Servers::new(8, true);
        let mut registration = servers.registration(&key);
        let mut end = Ok(None);
        for (side, epoch) in ServerSide::BOTH.into_iter().zip(epochs) {
            servers.heard(&mut registration, side);
            let answer = registered(later(epoch), servers.signatures(later(epoch), &key));
            end = servers.say(&mut registration, side, &answer);
        }
        match taken {
            true => assert_eq!(end.unwrap().expect("both have answered").epoch, Epoch(7)),
            false => assert_eq!(end, Err(RegistrationError::EpochsDiffer { epochs: epochs.map(Epoch) })),
        }
    }
    // Signed for another epoch than the one that it names.
    let mut servers = Servers::new(9, true);
    let mut registration = servers.registration(&key);
    servers.heard(&mut registration, S1);
    let answer = registered(later(7), servers.signatures(later(8), &key));
    let end = servers.say(&mut registration, S1, &answer);
    assert_eq!(end, Err(RegistrationError::Signature { server: S1, signer: S1 }));
}

#[test]
fn answers_that_are_not_the_two_servers_signatures_of_this_key_are_refused() {
    let key = SigningKey::from_seed(&[5; 32]);
    let end = |said: &dyn Fn(&Servers) -> Vec<u8>| {
        let mut servers = Servers::new(4, true);
        let mut registration = servers.registration(&key);
        servers.heard(&mut registration, S1);
        let said = said(&servers);
        servers.say(&mut registration, S1, &said).expect_err("a wrong answer")
    };
    for signer in ServerSide::BOTH {
        let wrong = end(&|servers| {
            let mut signatures = servers.signatures(ACCOUNT, &key);
            signatures[signer.index()][3] ^= 1;
            registered(ACCOUNT, signatures)
        });
        assert_eq!(wrong, RegistrationError::Signature { server: S1, signer });
    }
    let missing = end(&|servers| registered(ACCOUNT, [servers.signatures(ACCOUNT, &key)[0], [0; 64]]));
    assert_eq!(missing, RegistrationError::Signature { server: S1, signer: S2 });
    let swapped = end(&|servers| {
        let [one, two] = servers.signatures(ACCOUNT, &key);
        registered(ACCOUNT, [two, one])
    });
    assert_eq!(swapped, RegistrationError::Signature { server: S1, signer: S1 });
    let other_key =
        end(&|servers| registered(ACCOUNT, servers.signatures(ACCOUNT, &SigningKey::from_seed(&[6; 32]))));
    assert_eq!(other_key, RegistrationError::Signature { server: S1, signer: S1 });

    for other in [
        Account { group: GroupId(8), ..ACCOUNT },
        Account { user: UserId(10), ..ACCOUNT },
        Account { epoch: Epoch(1), ..ACCOUNT },
    ] {
        let error = end(&|servers| registered(other, servers.signatures(other, &key)));
        assert!(matches!(error, RegistrationError::Answer { server: S1, .. }), "{error}");
    }
    let mut reserved = registered(ACCOUNT, [[0; 64]; 2]);
    reserved[HEADER_BYTES + 12] = 1;
    let mut long = registered(ACCOUNT, [[0; 64]; 2]);
    long[4..8].copy_from_slice(&[0xff, 0xff, 0, 0]);
    let code = {
        let mut frame = Code::KeysUnequal.frame(0, 0, 0).to_vec();
        frame[HEADER_BYTES + 16..][..2].copy_from_slice(&999u16.to_le_bytes());
        frame
    };
    let round_end = RoundEnd::new(1, 2, 3).frame().to_vec();
    for nonsense in [reserved, long, code, round_end, vec![0xff; 8]] {
        let error = end(&|_| nonsense.clone());
        assert!(matches!(error, RegistrationError::Answer { server: S1, .. }), "{error}");
    }
}

#[test]
fn answers_before_the_question_or_twice_are_refused() {
    let key = SigningKey::from_seed(&[5; 32]);
    let mut servers = Servers::new(5, false);
    let answer = registered(ACCOUNT, servers.signatures(ACCOUNT, &key));
    let early = servers.give(&mut servers.registration(&key), S1, answer.clone());
    assert!(matches!(early, Err(RegistrationError::Answer { server: S1, .. })));
    let mut registration = servers.registration(&key);
    servers.heard(&mut registration, S1);
    let twice = servers.give(&mut registration, S1, [answer.clone(), answer].concat());
    assert!(matches!(twice, Err(RegistrationError::Answer { server: S1, .. })));
}

#[test]
fn what_is_changed_on_the_way_is_named() {
    let (mut servers, key) = (Servers::new(6, true), SigningKey::from_seed(&[5; 32]));
    let mut registration = servers.registration(&key);
    servers.heard(&mut registration, S2);
    let answer = registered(ACCOUNT, servers.signatures(ACCOUNT, &key));
    let ends = servers.ends.as_mut().unwrap();
    let mut sealed = ends.seal(0, S2, &answer, &mut servers.rng);
    *sealed.last_mut().unwrap() ^= 1;
    let end = servers.give(&mut registration, S2, sealed);
    assert_eq!(end, Err(RegistrationError::Channel { server: S2, reason: ChannelError::RecordChanged }));
}
