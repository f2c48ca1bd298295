//! A site that checks in, as far as a licensor can tell, and an endpoint in this process that answers it.

use std::sync::{Arc, Mutex};

use leasehold_keys::{
    activation::{HostRole, LicenseId},
    check_in::{CheckInAnswer, CheckInReply, CheckInRequest, CheckInStanding, ClockEvidence, Nonce},
    digest::Sha256,
    host::HostId,
    time::{HOUR_MS, WallTime},
    trust::{Trust, Verified},
};
#[cfg(any(debug_assertions, feature = "scripted-faults"))]
use licensor::serve::faults::Script;
use licensor::{
    catalog::Catalog,
    order::IssueOrder,
    serve::{self, Desks, Serving},
    workshop::Workshop,
};
use rcgen::CertifiedKey;
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::{
    serve::{Answer, Client, certificate},
    support::{Machine, label, noon, workshop},
};

/// A clock that tests set.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<Mutex<WallTime>>);

impl TestClock {
    pub(crate) fn now(&self) -> WallTime {
        *self.0.lock().unwrap()
    }

    pub(crate) fn goes_on(&self, ms: i64) {
        let mut now = self.0.lock().unwrap();
        *now = now.plus_ms(ms);
    }
}

/// A licensor with a license and its endpoint.
pub(crate) struct House {
    _dir: tempfile::TempDir,
    pub(crate) workshop: Workshop,
    pub(crate) license: LicenseId,
    pub(crate) clock: TestClock,
    #[cfg(any(debug_assertions, feature = "scripted-faults"))]
    pub(crate) script: Script,
    pub(crate) serving: Serving,
    pub(crate) client: Client,
}

impl House {
    /// With a license by this order.
    pub(crate) async fn of(order: &IssueOrder) -> Self {
        Self::after(order, |workshop| workshop).await
    }

    /// The same, with something done to the workshop before its endpoint is opened.
    pub(crate) async fn after(order: &IssueOrder, prepare: impl FnOnce(Workshop) -> Workshop) -> Self {
        let (dir, mut workshop) = workshop();
        let license = workshop.issue(&Catalog::pureconnect(), order, noon()).unwrap().activation.license_id;
        let workshop = prepare(workshop);
        let clock = TestClock(Arc::new(Mutex::new(noon())));
        let desks = Desks::new(workshop.intake(workshop.dir(), noon()).unwrap())
            .with_check_ins(workshop.check_ins(noon()).unwrap());
        #[cfg(any(debug_assertions, feature = "scripted-faults"))]
        let script = Script::default();
        #[cfg(any(debug_assertions, feature = "scripted-faults"))]
        let desks = desks.with_faults(script.clone());
        let CertifiedKey { cert, signing_key } = certificate();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let tls = serve::tls::config(vec![cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let told = clock.clone();
        let serving = serve::start(listener, tls, desks, Arc::new(move || told.now())).unwrap();
        let client = Client { address: serving.address(), certificate: cert.der().clone() };
        Self {
            _dir: dir,
            workshop,
            license,
            clock,
            #[cfg(any(debug_assertions, feature = "scripted-faults"))]
            script,
            serving,
            client,
        }
    }

    /// With a license of one machine, that of the seed 1.
    pub(crate) async fn open() -> Self {
        Self::of(&crate::orders::with_grants()).await
    }

    /// A server with the file as it was issued first.
    pub(crate) fn site(&self, seed: u8) -> Site {
        let file = self.workshop.ledger().file(self.license, Some(1)).unwrap().unwrap();
        Site {
            machine: seed,
            host_id: Machine::new("cic-01", seed).host_id(),
            license: self.license,
            sequence: 1,
            file: file.sha256,
            trust: self.workshop.trust().clone(),
            counter: 0,
            previous: None,
            clock: self.clock.clone(),
        }
    }

    pub(crate) async fn post(&self, body: &[u8]) -> Answer {
        post(&self.client, body).await
    }

    /// What the endpoint answers to a request, which is judged as the site judges it.
    pub(crate) async fn asked(&self, site: &Site, request: &Verified<CheckInRequest>) -> Told {
        site.judge(request, &self.post(request.bytes()).await)
    }

    /// A site's whole check-in, whose answer it takes.
    pub(crate) async fn check_in(&self, site: &mut Site) -> CheckInStanding {
        self.clock.goes_on(HOUR_MS);
        let request = site.request();
        let told = self.asked(site, &request).await;
        site.take(&told);
        told.answer.standing
    }
}

pub(crate) async fn post(client: &Client, body: &[u8]) -> Answer {
    client.ask(&format!("POST /v1/check-in HTTP/1.1\r\nContent-Length: {}", body.len()), body).await
}

/// A reply that was judged.
pub(crate) struct Told {
    pub(crate) answer: CheckInAnswer,
    pub(crate) sha256: Sha256,
    pub(crate) reply: CheckInReply,
}

/// What a server knows of its check-ins; a copy of it is a clone, or a state to be restored.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) machine: u8,
    /// Made once, since it costs.
    pub(crate) host_id: HostId,
    pub(crate) license: LicenseId,
    pub(crate) sequence: u32,
    pub(crate) file: Sha256,
    pub(crate) trust: Trust,
    pub(crate) counter: u64,
    pub(crate) previous: Option<Sha256>,
    pub(crate) clock: TestClock,
}

impl Site {
    pub(crate) fn machine(&self) -> Machine {
        Machine::new("cic-01", self.machine)
    }

    /// What it says of itself now, with the next counter.
    pub(crate) fn says(&mut self) -> CheckInRequest {
        self.counter += 1;
        let machine = self.machine();
        CheckInRequest {
            created: self.clock.now(),
            nonce: Nonce::random().unwrap(),
            license_id: self.license,
            sequence: self.sequence,
            file: self.file,
            root_version: self.trust.root().version,
            role: Some(HostRole::Primary),
            installation: machine.key().public(),
            host_id: self.host_id.clone(),
            counter: self.counter,
            previous_answer: self.previous,
            usage_head: None,
            fencing: 77,
            epoch: 3,
            boot_id: label("4e6d3c1a-6f0e-4b62-9b3f-2f0d2f8b9a11"),
            version: label("0.1.0"),
            clock: ClockEvidence {
                wall: self.clock.now(),
                roll_backs: 0,
                last_roll_back_ms: 0,
                unconfirmed_ms: 0,
                withdrawn: 0,
            },
            witness: Vec::new(),
        }
    }

    pub(crate) fn request(&mut self) -> Verified<CheckInRequest> {
        let request = self.says();
        request.sign(self.machine().key()).unwrap()
    }

    /// Judges an answer that must be good in form.
    #[track_caller]
    pub(crate) fn judge(&self, request: &Verified<CheckInRequest>, answer: &Answer) -> Told {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
        let reply = CheckInReply::read(&answer.body).unwrap();
        let (trust, refused) = reply.succeeded(&self.trust);
        assert_eq!(refused, []);
        let verified = trust.check_in_answer(reply.answer.as_bytes(), self.clock.now()).unwrap();
        verified.fits_request(request).unwrap();
        assert!(reply.files_of(&verified).iter().all(Result::is_ok));
        Told { sha256: verified.sha256(), answer: verified.into_inner(), reply }
    }

    /// Goes on from an answer.
    pub(crate) fn take(&mut self, told: &Told) {
        self.previous = Some(told.sha256);
    }
}
