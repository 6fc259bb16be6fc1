//! A server that speaks TLS and whose certificate has run out.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server; it ends when dropped.
pub(crate) struct Expired {
    /// Host and port.
    pub(crate) address: String,
    process: Child,
}

impl Expired {
    pub(crate) fn start(certificate: &Path, key: &Path) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-www", "-accept", &address]);
        command.arg("-cert").arg(certificate).arg("-key").arg(key);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < end, "openssl s_server did not come");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { address, process }
    }
}

impl Drop for Expired {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
