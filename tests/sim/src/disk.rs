//! `std::fs`, as far as the steps use it: a disk that holds one file.
//!
//! It keeps two versions of the file: what programs see, and what a power cut
//! leaves. Only a sync makes them equal.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::world::{World, with};

/// The disk of the server's machine.
#[derive(Default)]
pub struct Disk {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    is_locked: bool,
    /// Out of 1000 writes, how many fail halfway.
    pub fails: u64,
}

impl World {
    // ANCHOR: power-cut
    /// Cuts the power: of what no sync has secured, the end may be missing.
    pub fn cut_disk(&mut self) {
        let Disk { bytes, synced, .. } = &mut self.disk;
        if bytes.starts_with(synced) {
            let unsure = (bytes.len() - synced.len()) as u64;
            let kept = synced.len() + self.chance.below(unsure + 1) as usize;
            bytes.truncate(kept);
        } else {
            bytes.clone_from(synced);
        }
        synced.clone_from(bytes);
    }
    // ANCHOR_END: power-cut
}

/// An open file.
pub struct File {
    at: usize,
    has_lock: bool,
}

/// How to open the file. It is created in any case.
pub struct OpenOptions;

impl File {
    /// Returns options; they make no difference.
    pub fn options() -> OpenOptions {
        OpenOptions
    }

    /// Opens the file.
    ///
    /// # Errors
    /// There are none here.
    pub fn open(_: impl AsRef<Path>) -> io::Result<File> {
        Ok(File { at: 0, has_lock: false })
    }

    /// Returns the file itself, which knows all that is asked of it.
    ///
    /// # Errors
    /// There are none here.
    pub fn metadata(&self) -> io::Result<&File> {
        Ok(self)
    }

    /// It is never a folder or a device.
    pub fn is_file(&self) -> bool {
        true
    }

    /// Locks the file until it is closed.
    ///
    /// # Errors
    /// Another has locked it.
    pub fn try_lock(&mut self) -> io::Result<()> {
        if with(|world| std::mem::replace(&mut world.disk.is_locked, true)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.has_lock = true;
        Ok(())
    }

    /// Makes the file shorter, or longer with zeros.
    ///
    /// # Errors
    /// There are none here.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        with(|world| world.disk.bytes.resize(len as usize, 0));
        Ok(())
    }

    /// Secures what was written against a power cut.
    ///
    /// # Errors
    /// The disk fails, when the weather says so. What is in doubt is cut as a
    /// loss of power would.
    pub fn sync_all(&self) -> io::Result<()> {
        with(|world| {
            if world.chance.hits(world.disk.fails) {
                world.cut_disk();
                return Err(io::ErrorKind::StorageFull.into());
            }
            world.disk.synced.clone_from(&world.disk.bytes);
            Ok(())
        })
    }

    /// Does the same.
    ///
    /// # Errors
    /// As of `sync_all`.
    pub fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }
}

impl OpenOptions {
    /// To read.
    pub fn read(&mut self, _: bool) -> &mut OpenOptions {
        self
    }

    /// To write.
    pub fn write(&mut self, _: bool) -> &mut OpenOptions {
        self
    }

    /// To create.
    pub fn create(&mut self, _: bool) -> &mut OpenOptions {
        self
    }

    /// To empty it; it is never asked for.
    pub fn truncate(&mut self, _: bool) -> &mut OpenOptions {
        self
    }

    /// Opens the file.
    ///
    /// # Errors
    /// There are none here.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        File::open(path)
    }
}

impl Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = with(|world| (&world.disk.bytes[self.at..]).read(into))?;
        self.at += n;
        Ok(n)
    }
}

impl Seek for File {
    /// Only from the start.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.at = at as usize;
        Ok(at)
    }
}

impl Write for File {
    /// Writes everything, or a part and then no more: the disk is full.
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        with(|world| {
            let fails = world.chance.hits(world.disk.fails);
            let most = from.len() as u64;
            let n = if fails { world.chance.below(most) } else { most };
            world.disk.bytes.truncate(self.at);
            world.disk.bytes.extend_from_slice(&from[..n as usize]);
            self.at += n as usize;
            if fails {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(n as usize)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.has_lock {
            with(|world| world.disk.is_locked = false);
        }
    }
}
