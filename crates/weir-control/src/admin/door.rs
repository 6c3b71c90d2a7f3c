//! Where operators come in: a TCP address, or a unix socket that only its owner may use.

use std::{
    fs, io,
    net::SocketAddr,
    os::fd::OwnedFd,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
    sync::Arc,
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use weir_model::listener::Address;

use crate::trouble::Trouble;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A bound socket.
#[derive(Debug)]
pub struct Door {
    pub(super) socket: DoorSocket,
    /// What was really bound: port 0 has become a port.
    pub(super) address: Address,
}

#[derive(Debug)]
pub(super) enum DoorSocket {
    Ip(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, UnixPath),
}

/// The file of a unix socket; removed with the socket unless somebody else has bound the path since.
#[derive(Debug)]
pub(super) struct UnixPath {
    path: Arc<Path>,
    /// Device and number of the file; none once it belongs to somebody else.
    file: Option<(u64, u64)>,
}

impl Door {
    /// Binds where the configuration says.
    ///
    /// # Errors
    /// Why it cannot be bound.
    pub fn open(address: &Address) -> Result<Self, Trouble> {
        let trouble = |error: io::Error| {
            let remedy = match (address, error.kind()) {
                (Address::Ip(address), io::ErrorKind::AddrInUse) => {
                    format!("`ss -ltnp 'sport = :{}'` shows who holds the port", address.port())
                }
                (Address::Unix(_), io::ErrorKind::AddrInUse) => {
                    "another weir runs with this file: stop it, or give this one a path of its own".into()
                }
                (Address::Unix(path), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    format!("make the folder {} first", path.parent().unwrap_or(path).display())
                }
                (Address::Unix(_), io::ErrorKind::AlreadyExists) => "remove it, or name another path".into(),
                (Address::Ip(_), io::ErrorKind::AddrNotAvailable) => {
                    "this machine has no such address: `ip address` shows those that it has".into()
                }
                (_, io::ErrorKind::PermissionDenied) => {
                    "choose another place, or grant the right to it".into()
                }
                _ => String::new(),
            };
            Trouble::new(format!("`admin` cannot be bound to {address}: {error}"), remedy)
        };
        match address {
            Address::Ip(ip) => Self::open_ip(*ip),
            Address::Unix(path) => Self::open_unix(path),
        }
        .map_err(trouble)
    }

    fn open_ip(address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = Address::Ip(socket.local_addr()?);
        Ok(Self { socket: DoorSocket::Ip(socket), address })
    }

    fn open_unix(path: &Arc<Path>) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Nobody can connect before it listens, so that nobody else ever can.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let file = UnixPath::of(path)?;
        socket.listen(BACKLOG)?;
        Ok(Self { socket: DoorSocket::Unix(socket.into(), file), address: Address::Unix(path.clone()) })
    }

    /// The door of the process before this one, or one that a service manager has opened. `bound` is where it is, as the
    /// configuration says it.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn inherit(bound: &Address, socket: OwnedFd) -> io::Result<Self> {
        match bound {
            Address::Ip(_) => {
                let socket = std::net::TcpListener::from(socket);
                socket.set_nonblocking(true)?;
                let address = Address::Ip(socket.local_addr()?);
                Ok(Self { socket: DoorSocket::Ip(socket), address })
            }
            Address::Unix(path) => {
                let socket = std::os::unix::net::UnixListener::from(socket);
                socket.set_nonblocking(true)?;
                let file = UnixPath::of(path)?;
                Ok(Self { socket: DoorSocket::Unix(socket, file), address: bound.clone() })
            }
        }
    }

    /// The socket once more, to be handed to another process.
    ///
    /// # Errors
    /// If the process is out of files.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        match &self.socket {
            DoorSocket::Ip(socket) => Ok(socket.try_clone()?.into()),
            DoorSocket::Unix(socket, _) => Ok(socket.try_clone()?.into()),
        }
    }

    /// What was really bound.
    pub const fn address(&self) -> &Address {
        &self.address
    }
}

/// A socket that clients arrive at, of either kind.
pub(super) trait Listening: Sync {
    /// A connection of a client.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listening for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listening for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Removes a socket that nobody listens on any more, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        // Full, or not ours to use: somebody is there.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

impl UnixPath {
    fn of(path: &Arc<Path>) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.clone(), file: Some((metadata.dev(), metadata.ino())) })
    }

    /// Lets it stay: it is another process's now.
    pub(super) fn leave(mut self) {
        self.file = None;
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        let Some(file) = self.file else { return };
        let same = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == file;
        if fs::symlink_metadata(&self.path).is_ok_and(same) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = std::env::temp_dir().join(format!("weir-door-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path: Arc<Path> = folder.join("weir.sock").into();
        let address = Address::Unix(path.clone());

        let first = Door::open(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let trouble = Door::open(&address).unwrap_err();
        assert!(trouble.remedy.starts_with("another weir runs"), "{trouble}");
        assert!(UnixStream::connect(&path).is_ok(), "the first one still listens");
        drop(first);
        assert!(!path.exists());

        // What a killed process leaves behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let second = Door::open(&address).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);

        fs::write(&path, "precious").unwrap();
        assert!(Door::open(&address).unwrap_err().cause.contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_dir_all(&folder).unwrap();
    }
}
