//! Random histories of check-ins: whatever is lost, late, repeated or carried by file, an honest site is never a duplicate; and of
//! two states that go on from one point, one is told before both have got far.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use leasehold_keys::{
    activation::LicenseId,
    check_in::{CheckInAnswer, CheckInRequest, CheckInStanding, ClockEvidence, Nonce, Outstanding},
    digest::Sha256,
    host::HostId,
    time::WallTime,
    trust::Verified,
};
use licensor::{
    catalog::Catalog,
    check_in::{CheckInFault, CheckIns},
    workshop::Workshop,
};
use proptest::prelude::*;

use crate::{
    orders::with_grants,
    support::{Machine, label, noon, workshop},
};

/// A licensor without an endpoint.
struct House {
    _dir: tempfile::TempDir,
    workshop: Workshop,
    check_ins: CheckIns,
}

/// Founded once: that takes longer than a history.
static HOUSE: LazyLock<Mutex<House>> = LazyLock::new(|| Mutex::new(House::new()));

fn house() -> MutexGuard<'static, House> {
    HOUSE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a server has from it.
#[derive(Clone)]
struct Sold {
    license: LicenseId,
    file: Sha256,
    host_id: HostId,
}

impl House {
    fn new() -> Self {
        let (dir, workshop) = workshop();
        let check_ins = workshop.check_ins(noon()).unwrap();
        Self { _dir: dir, workshop, check_ins }
    }

    /// A license of its own for each history.
    fn sells(&mut self) -> Sold {
        let issued = self.workshop.issue(&Catalog::pureconnect(), &with_grants(), noon()).unwrap();
        static HOST_ID: LazyLock<HostId> = LazyLock::new(|| Machine::new("cic-01", 1).host_id());
        let (license, file) = (issued.activation.license_id, issued.activation.sha256());
        Sold { license, file, host_id: HOST_ID.clone() }
    }

    fn answer(
        &mut self,
        request: &Verified<CheckInRequest>,
        now: WallTime,
    ) -> Result<(CheckInAnswer, Sha256), CheckInFault> {
        let answered = self.check_ins.answer(request.bytes(), now)?;
        Ok((answered.answer, Sha256::of(answered.reply.answer.as_bytes())))
    }
}

/// What a daemon keeps of its check-ins.
#[derive(Clone, Default)]
struct Daemon {
    /// Over restarts: the last answer that counted, and the counter of its request.
    counted: (Option<Sha256>, u64),
    /// Over restarts: the request that is open by file.
    by_file: Option<Outstanding>,
    /// Until a restart: the request that is open over the network, and the last counter.
    open: Option<Outstanding>,
    counter: u64,
}

impl Daemon {
    fn ask(&mut self, sold: &Sold, by_file: bool, now: WallTime) -> Verified<CheckInRequest> {
        self.counter = self.counter.max(self.counted.1).max(self.by_file.map_or(0, |open| open.counter)) + 1;
        let machine = Machine::new("cic-01", 1);
        let clock = ClockEvidence { wall: now, roll_backs: 0, last_roll_back_ms: 0, unconfirmed_ms: 0, withdrawn: 0 };
        let request = CheckInRequest {
            created: now,
            nonce: Nonce::random().unwrap(),
            license_id: sold.license,
            sequence: 1,
            file: sold.file,
            root_version: 1,
            role: None,
            installation: machine.key().public(),
            host_id: sold.host_id.clone(),
            counter: self.counter,
            previous_answer: self.counted.0,
            usage_head: None,
            fencing: 0,
            epoch: 1,
            boot_id: label("boot"),
            version: label("0.1.0"),
            clock,
            witness: Vec::new(),
        };
        let request = request.sign(machine.key()).unwrap();
        *(if by_file { &mut self.by_file } else { &mut self.open }) = Some(request.outstanding());
        request
    }

    /// Takes an answer, where it is to a request that is open; then no other is.
    fn take(&mut self, answer: &CheckInAnswer, sha256: Sha256) {
        if [self.open, self.by_file].into_iter().flatten().any(|open| answer.fits(&open).is_ok()) {
            self.counted = (Some(sha256), answer.counter);
            (self.open, self.by_file) = (None, None);
        }
    }

    fn restart(&mut self) {
        (self.open, self.counter) = (None, 0);
    }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// A request is made, over the network or by file.
    Ask { by_file: bool },
    /// One of the requests on their way, or an old one again, comes to the licensor.
    Deliver(prop::sample::Index),
    /// One of the answers on their way, or an old one again, comes to the site.
    Take(prop::sample::Index),
    /// A whole check-in, as most are.
    CheckIn,
    /// The daemon is restarted.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => any::<bool>().prop_map(|by_file| Event::Ask { by_file }),
        4 => any::<prop::sample::Index>().prop_map(Event::Deliver),
        4 => any::<prop::sample::Index>().prop_map(Event::Take),
        3 => Just(Event::CheckIn),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_site_is_never_a_duplicate(events in prop::collection::vec(event(), 1..50)) {
        let mut house = house();
        let sold = house.sells();
        let mut daemon = Daemon::default();
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        let mut now = noon();
        for event in events {
            now = now.plus_ms(60_000);
            match event {
                Event::Ask { by_file } => requests.push(daemon.ask(&sold, by_file, now)),
                Event::Deliver(index) if !requests.is_empty() => match house.answer(index.get(&requests), now) {
                    Ok((answer, sha256)) => {
                        prop_assert_eq!(answer.standing, CheckInStanding::Good);
                        answers.push((answer, sha256));
                    }
                    // What was overtaken is refused, and the site does not wait for it any more.
                    Err(fault) => {
                        prop_assert_eq!(fault.code(), "stale-request");
                        let open = [daemon.open, daemon.by_file];
                        let asked = index.get(&requests).outstanding();
                        prop_assert!(!open.contains(&Some(asked)), "an open request was refused");
                    }
                },
                Event::Take(index) if !answers.is_empty() => {
                    let (answer, sha256) = index.get(&answers);
                    daemon.take(answer, *sha256);
                }
                Event::CheckIn => {
                    let request = daemon.ask(&sold, false, now);
                    let (answer, sha256) = house.answer(&request, now).unwrap();
                    prop_assert_eq!(answer.standing, CheckInStanding::Good);
                    daemon.take(&answer, sha256);
                    prop_assert_eq!(daemon.counted.0, Some(sha256));
                }
                Event::Restart => daemon.restart(),
                Event::Deliver(_) | Event::Take(_) => {}
            }
        }
        let remarks = house.workshop.ledger().check_in_remarks().unwrap();
        prop_assert!(remarks.iter().all(|remark| remark.license_id != sold.license), "{remarks:?}");
    }

    #[test]
    fn of_two_states_that_go_on_from_one_point_one_is_told(
        before in 0_usize..4,
        lost in 0_usize..4,
        order in prop::collection::vec(any::<bool>(), 0..12),
    ) {
        let mut house = house();
        let sold = house.sells();
        let mut site = Daemon::default();
        let mut now = noon();
        let mut check_in = |daemon: &mut Daemon, is_lost: bool| {
            now = now.plus_ms(3_600_000);
            let request = daemon.ask(&sold, false, now);
            let (answer, sha256) = house.answer(&request, now).unwrap();
            if !is_lost {
                daemon.take(&answer, sha256);
            }
            answer.standing
        };
        for _ in 0..before {
            check_in(&mut site, false);
        }
        let mut clone = site.clone();
        for _ in 0..lost {
            check_in(&mut site, true);
        }
        // However they take turns, once each of them has asked three times, none is in good standing any more.
        let rest = [true, false, true, false, true, false];
        for which in order.into_iter().chain(rest) {
            check_in(if which { &mut site } else { &mut clone }, false);
        }
        prop_assert_eq!(check_in(&mut site, false), CheckInStanding::Duplicate);
        prop_assert_eq!(check_in(&mut clone, false), CheckInStanding::Duplicate);
    }
}
