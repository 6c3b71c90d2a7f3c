//! Lines to syslog: to the socket of this host as the C library's `syslog` writes them, or to a server by UDP in the
//! form of RFC 5424. One line is one datagram; a syslog that is not there is looked for again once a second.

use std::{
    io::{self, Write as _},
    net::{ToSocketAddrs as _, UdpSocket},
    os::unix::net::UnixDatagram,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weir_model::log::LogTarget;

use super::{file::Lost, timestamp};

/// Facility local0, severity informational (RFC 5424 section 6.2.1).
const PRIORITY: u8 = 16 * 8 + 6;
/// How long a syslog that is gone is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// A syslog, there or not.
#[derive(Debug)]
pub(super) struct Syslog {
    target: LogTarget,
    socket: Option<Socket>,
    /// When it was last found missing.
    missed: Option<Instant>,
    host: String,
    message: Vec<u8>,
}

#[derive(Debug)]
enum Socket {
    Local(UnixDatagram),
    Server(UdpSocket),
}

impl Syslog {
    pub(super) fn new(target: LogTarget) -> Self {
        let name = rustix::system::uname();
        let host = name.nodename().to_string_lossy().replace(|c: char| !c.is_ascii_graphic(), "");
        let host = if host.is_empty() { "-".to_owned() } else { host };
        Self { target, socket: None, missed: None, host, message: Vec::new() }
    }

    /// Sends whole lines, each in its own datagram.
    pub(super) fn write(&mut self, text: &[u8]) -> Result<(), Lost> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = timestamp((since.as_secs(), since.subsec_micros()));
        let (mut lines, mut last) = (0, None);
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Err(error) = self.send(&at, line) {
                lines += 1;
                last = Some(error);
            }
        }
        last.map_or(Ok(()), |error| Err(Lost { error, lines }))
    }

    fn send(&mut self, at: &str, line: &[u8]) -> io::Result<()> {
        self.compose(at, line)?;
        if let Some(socket) = &self.socket {
            match socket.send(&self.message) {
                Ok(()) => return Ok(()),
                // Too long for a datagram: another socket would not help.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
                    return Err(error);
                }
                // It was restarted, or an earlier datagram was not taken: once more.
                Err(_) => self.socket = None,
            }
        }
        if self.missed.is_some_and(|missed| missed.elapsed() < PAUSE) {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "it is not there"));
        }
        let sent = Socket::connect(&self.target).and_then(|socket| {
            socket.send(&self.message)?;
            Ok(socket)
        });
        match sent {
            Ok(socket) => {
                (self.socket, self.missed) = (Some(socket), None);
                Ok(())
            }
            Err(error) => {
                self.missed = Some(Instant::now());
                Err(error)
            }
        }
    }

    /// Leaves the datagram in `message`.
    fn compose(&mut self, at: &str, line: &[u8]) -> io::Result<()> {
        self.message.clear();
        let process = std::process::id();
        match self.target {
            LogTarget::SyslogLocal(_) => {
                // `Nov 21 02:35:33`, out of RFC 3339.
                const MONTHS: [&str; 12] =
                    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
                let month = at[5..7].parse::<usize>().map_or("Jan", |month| MONTHS[(month + 11) % 12]);
                let day = at[8..10].trim_start_matches('0');
                let time = &at[11..19];
                write!(self.message, "<{PRIORITY}>{month} {day:>2} {time} weir[{process}]: ")?;
            }
            _ => write!(self.message, "<{PRIORITY}>1 {at} {} weir {process} access - ", self.host)?,
        }
        self.message.extend_from_slice(line);
        Ok(())
    }
}

impl Socket {
    fn connect(target: &LogTarget) -> io::Result<Self> {
        match target {
            LogTarget::SyslogUdp(host, port) => {
                let mut addresses = (&**host, *port).to_socket_addrs()?;
                let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(Self::Server(socket))
            }
            LogTarget::SyslogLocal(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Self::Local(socket))
            }
            LogTarget::Stdout | LogTarget::File(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Local(socket) => socket.send(message),
            Self::Server(socket) => socket.send(message),
        }
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn lines_arrive_at_the_socket_of_the_host_one_by_one() {
        let path = env::temp_dir().join(format!("weir-syslog-{}.sock", std::process::id()));
        let mut syslog = Syslog::new(LogTarget::SyslogLocal(path.clone()));
        assert_eq!(syslog.write(b"nobody\nhears\n").unwrap_err().lines, 2);
        let server = UnixDatagram::bind(&path).unwrap();
        syslog.missed = None;
        syslog.write(b"one\ntwo\n").unwrap();
        let mut room = [0; 200];
        for expected in ["one", "two"] {
            let count = server.recv(&mut room).unwrap();
            let said = String::from_utf8_lossy(&room[..count]).into_owned();
            let (head, line) = said.split_once("]: ").unwrap();
            assert!(head.starts_with("<134>") && head.contains(" weir["), "{said}");
            assert_eq!((head.find('>'), line), (Some(4), expected));
        }
        // Restarted: the socket is another one under the same path.
        drop(server);
        fs::remove_file(&path).unwrap();
        let server = UnixDatagram::bind(&path).unwrap();
        syslog.write(b"three\n").unwrap();
        let count = server.recv(&mut room).unwrap();
        assert!(room[..count].ends_with(b"]: three"));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn lines_go_to_a_server_in_the_form_of_rfc_5424() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let mut syslog = Syslog::new(LogTarget::SyslogUdp("127.0.0.1".into(), port));
        syslog.write(b"{\"a\":1}\n").unwrap();
        let mut room = [0; 500];
        let count = server.recv(&mut room).unwrap();
        let said = String::from_utf8_lossy(&room[..count]).into_owned();
        let fields: Vec<_> = said.splitn(8, ' ').collect();
        assert_eq!(
            (fields[0], fields[3], fields[5], fields[6], fields[7]),
            ("<134>1", "weir", "access", "-", "{\"a\":1}")
        );
        assert!(fields[1].ends_with('Z') && fields[4].parse::<u32>().is_ok(), "{said}");
        let long = [vec![b'x'; 70_000], b"\nshort\n".to_vec()].concat();
        assert_eq!(syslog.write(&long).unwrap_err().lines, 1);
    }
}
