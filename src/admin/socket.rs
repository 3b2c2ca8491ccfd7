//! The admin socket in the file system: one process owns it, by a lock beside it, and what a dead
//! process left there is replaced.
//!
//! The lock is on a file of its own (`admin.sock.lock`), because a socket's file can neither be locked
//! nor taken over without a moment in which two processes believe to own it. The kernel releases the lock
//! when its holder dies, however it dies.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The owner and the group may ask; nobody else.
const SOCKET_MODE: u32 = 0o660;

/// Why the admin socket is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Another process holds the lock.
    #[error("another tandem is running{} with the admin socket {}", spell_pid(.pid), socket.display())]
    SecondInstance {
        /// The other process, if it wrote its number.
        pid: Option<u32>,
        /// The socket.
        socket: PathBuf,
    },
    /// Something else is in the way.
    #[error("{} is not a socket: remove it, or set another `admin_socket`", path.display())]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot {what} {}: {error}", path.display())]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

fn spell_pid(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

/// The right to own an admin socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct InstanceLock {
    socket: PathBuf,
    /// Held for its lock. The file itself stays: removing it would let two processes lock two files of
    /// the same name.
    _file: File,
}

/// The bound socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    listener: UnixListener,
    lock: InstanceLock,
}

impl InstanceLock {
    /// Takes the lock for this socket path; makes its directory if there is none.
    pub(crate) fn take(socket: &Path) -> Result<Self, SocketError> {
        if let Some(directory) = socket.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o755);
            let made = builder.create(directory);
            made.map_err(|error| kernel("make the directory", directory, error))?;
        }
        let path = beside(socket, ".lock");
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path);
        let mut file = opened.map_err(|error| kernel("open", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SocketError::SecondInstance {
                    pid: read_pid(&mut file),
                    socket: socket.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(kernel("lock", &path, error)),
        }
        write_pid(&mut file).map_err(|error| kernel("write to", &path, error))?;
        Ok(Self {
            socket: socket.to_owned(),
            _file: file,
        })
    }

    /// Binds the socket, in place of what a dead process left. Appears with its final mode.
    pub(crate) fn bind(self) -> Result<AdminSocket, SocketError> {
        let socket = &self.socket;
        match fs::symlink_metadata(socket) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(SocketError::NotASocket {
                    path: socket.clone(),
                });
            }
            _ => {}
        }
        let fresh = beside(socket, ".new");
        remove_if_there(&fresh).map_err(|error| kernel("remove", &fresh, error))?;
        let listener = UnixListener::bind(&fresh).map_err(|error| kernel("bind", &fresh, error))?;
        fs::set_permissions(&fresh, Permissions::from_mode(SOCKET_MODE))
            .map_err(|error| kernel("set the mode of", &fresh, error))?;
        fs::rename(&fresh, socket).map_err(|error| kernel("replace", socket, error))?;
        Ok(AdminSocket {
            listener,
            lock: self,
        })
    }
}

impl AdminSocket {
    /// Where clients arrive.
    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let socket = &self.lock.socket;
        if let Err(error) = remove_if_there(socket) {
            tracing::warn!(socket = %socket.display(), %error, "the admin socket stays behind");
        }
    }
}

fn beside(socket: &Path, suffix: &str) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn kernel(what: &'static str, path: &Path, error: io::Error) -> SocketError {
    SocketError::Kernel {
        what,
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_socket_has_its_mode_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deep/admin.sock");
        let lock = InstanceLock::take(&path).expect("nobody else");
        let bound = lock.bind().expect("the path is free");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o660);
        UnixStream::connect(&path).expect("it listens");
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_instance_is_told_who_the_first_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("admin.sock");
        let first = InstanceLock::take(&path).expect("nobody else");
        let second = InstanceLock::take(&path).expect_err("the first holds it");
        let sentence = second.to_string();
        let process = format!("(process {})", std::process::id());
        assert!(sentence.starts_with("another tandem is running"));
        assert!(sentence.contains(&process), "{sentence}");
        drop(first);
        InstanceLock::take(&path).expect("the first is gone");
    }

    #[test]
    fn a_dead_processes_socket_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("admin.sock");
        drop(UnixListener::bind(&path).expect("the path is free"));
        UnixStream::connect(&path).expect_err("nobody listens");
        let lock = InstanceLock::take(&path).expect("nobody holds it");
        let bound = lock.bind().expect("the stale socket is replaced");
        UnixStream::connect(&path).expect("it listens");
        drop(bound);
        fs::write(&path, "a file of somebody's").expect("the directory is ours");
        let lock = InstanceLock::take(&path).expect("nobody holds it");
        assert!(matches!(lock.bind(), Err(SocketError::NotASocket { .. })));
        assert!(path.exists());
    }
}
