//! Listening at a unix socket: a file that others connect to.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
    sync::Arc,
};

use socket2::{Domain, SockAddr, Socket, Type};
use weir_model::listener::TcpOptions;

use super::BoundSockets;

/// Who may connect: everybody who may enter the folder, as with a port of this machine.
const MODE: u32 = 0o666;

/// The file of a bound socket; it goes when this does.
#[derive(Debug)]
pub(super) struct SocketFile(Option<Arc<Path>>);

impl SocketFile {
    /// The file at this path.
    pub(super) fn new(path: &Arc<Path>) -> Self {
        Self(Some(path.clone()))
    }

    /// Lets it stay: it is another process's now.
    pub(super) fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Binds a path. What a process that has ended left there is replaced; a socket that somebody still listens at is not,
/// and neither is anything else.
pub(super) fn bind(path: &Arc<Path>, options: &TcpOptions, count: usize) -> io::Result<BoundSockets> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::new(path);
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    // The kernel has one queue for such a socket; all workers accept from it.
    let mut sockets = (1..count.max(1)).map(|_| socket.try_clone()).collect::<io::Result<Vec<_>>>()?;
    sockets.push(socket);
    Ok(BoundSockets { sockets, options: options.clone(), inherited: false, file: Some(file) })
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
            // Somebody is there, or nobody can tell.
            _ => Err(ErrorKind::AddrInUse.into()),
        },
        // Not ours to remove: binding says what is wrong with it.
        _ => Ok(()),
    }
}
