//! A runner that is held at a step while another one runs.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use stockflow_core::Result;
use stockflow_core::pipeline::{KillPoint, Probe};

const PATIENCE: Duration = Duration::from_secs(60);

/// Stops its runner when it comes to a point for the first time, until it is let go.
#[derive(Debug)]
pub(super) struct Hold {
    point: KillPoint,
    reached: Mutex<Option<Sender<()>>>,
    go: Mutex<Receiver<()>>,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Held {
    reached: Receiver<()>,
    go: Sender<()>,
}

pub(super) fn hold(point: KillPoint) -> (Hold, Held) {
    let (reached, told) = channel();
    let (go, waited) = channel();
    (Hold { point, reached: Mutex::new(Some(reached)), go: Mutex::new(waited) }, Held { reached: told, go })
}

impl Held {
    /// Waits until the runner has come there; false if it never does.
    pub(super) fn wait(&self) -> bool {
        self.reached.recv_timeout(PATIENCE).is_ok()
    }

    pub(super) fn let_go(&self) {
        self.go.send(()).unwrap();
    }
}

impl Probe for Hold {
    fn at(&self, point: &KillPoint) -> Result<()> {
        if *point == self.point
            && let Some(reached) = self.reached.lock().unwrap().take()
        {
            reached.send(()).unwrap();
            self.go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        Ok(())
    }
}
