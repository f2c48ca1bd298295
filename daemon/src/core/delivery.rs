//! How what is durable leaves: batch by batch, in order. In the daemon one task of the runtime lets it out, so that a
//! commit of many answers wakes the runtime once, and each caller is woken from within; a wake from another thread for
//! every answer would cost more than the answer. Without a runtime of several threads it leaves at once.

use std::sync::{Arc, mpsc as blocking};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::mpsc,
};

use super::{batch::Batch, events::Hub};

pub(super) enum Word {
    Batch(Box<Batch>),
    /// Everything before this has left.
    Flush(blocking::Sender<()>),
}

/// The way out. What it holds is bounded by what callers and streams may have unanswered.
pub(super) enum Delivery {
    AtOnce,
    ByTask(mpsc::UnboundedSender<Word>),
}

impl Delivery {
    /// By a task where there is a runtime for it.
    pub(super) fn start(hub: &Arc<Hub>) -> Self {
        let Ok(runtime) = Handle::try_current() else { return Self::AtOnce };
        // Whoever blocks the one thread of a runtime until the core has ended would wait for ever.
        if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
            return Self::AtOnce;
        }
        let (to, mut words) = mpsc::unbounded_channel();
        let hub = Arc::clone(hub);
        runtime.spawn(async move {
            while let Some(word) = words.recv().await {
                match word {
                    Word::Batch(batch) => batch.deliver(&hub),
                    // Whoever waits may have given up.
                    Word::Flush(done) => drop(done.send(())),
                }
            }
        });
        Self::ByTask(to)
    }

    /// Lets a batch out, after all that were given before it.
    pub(super) fn deliver(&self, batch: Batch, hub: &Arc<Hub>) {
        match self {
            Self::AtOnce => batch.deliver(hub),
            Self::ByTask(to) => {
                // The runtime is gone, and with it whoever waits.
                let _ = to.send(Word::Batch(Box::new(batch)));
            }
        }
    }

    /// Blocks until everything that was given has left.
    pub(super) fn flush(&self) {
        if let Self::ByTask(to) = self {
            let (done, all) = blocking::channel();
            if to.send(Word::Flush(done)).is_ok() {
                // Where the runtime ends meanwhile the word is dropped.
                let _ = all.recv();
            }
        }
    }
}
