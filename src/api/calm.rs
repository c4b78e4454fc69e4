//! An HTTP/2 connection whose peer asks for answers and for nothing else is ended. h2 answers each PING and SETTINGS
//! frame (RFC 9113 §6.5, §6.7) and keeps one answer at a time, so that a flood of them costs no memory; it costs
//! processor time, and that is what this bounds.

use crate::{model::Boot, platform::Clock};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// PING and SETTINGS frames within a span and without a call in between. Libraries that measure a link send one for
/// what they are sent; those that keep one alive, at most one a second.
const ASKED_MAX: u32 = 256;
const WITHIN: Duration = Duration::from_secs(60);

/// Bytes of the preface (RFC 9113 §3.4) and of a frame's head (§4.1).
const PREFACE: usize = 24;
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;

/// A stream whose frames are counted as they are read.
pub(super) struct Calm<S> {
    inner: S,
    clock: Arc<dyn Clock>,
    frames: Frames,
}

/// What is read of a peer's frames.
struct Frames {
    /// Bytes until the next head.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    asked: u32,
    since: Boot,
}

impl<S> Calm<S> {
    pub(super) fn new(inner: S, clock: Arc<dyn Clock>) -> Self {
        let frames = Frames { skip: PREFACE, head: [0; HEAD], have: 0, asked: 0, since: clock.boot() };
        Self { inner, clock, frames }
    }
}

impl Frames {
    /// Reads on; whether the peer may go on too.
    fn read(&mut self, mut bytes: &[u8], now: Boot) -> bool {
        while let Some((first, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == HEAD && !self.is_calm(now) {
                return false;
            }
        }
        true
    }

    /// Judges the head that is complete now.
    fn is_calm(&mut self, now: Boot) -> bool {
        let [long, middle, short, kind, flags, ..] = self.head;
        self.skip = usize::from(long) << 16 | usize::from(middle) << 8 | usize::from(short);
        self.have = 0;
        match kind {
            HEADERS => self.asked = 0,
            PING | SETTINGS if flags & ACK == 0 => {
                if self.asked == 0 || now.since(self.since) >= WITHIN {
                    (self.asked, self.since) = (0, now);
                }
                self.asked += 1;
            }
            _ => {}
        }
        self.asked <= ASKED_MAX
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Calm<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let now = self.clock.boot();
        if self.frames.read(buffer.filled().get(before..).unwrap_or_default(), now) {
            return Poll::Ready(Ok(()));
        }
        tracing::warn!("a peer asks and asks for answers that mean nothing: its connection is ended");
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Calm<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::SystemClock;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 0], &vec![0x06; payload]].concat()
    }

    fn begun() -> Frames {
        let mut frames = Calm::new((), Arc::new(SystemClock)).frames;
        assert!(frames.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Boot(0)));
        frames
    }

    // rows: GRPC-08 GRPC-10
    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let most = usize::try_from(ASKED_MAX).unwrap();
        for size in [1, 7, 9, 17, 1000, 100_000] {
            let mut frames = begun();
            let reads = |frames: &mut Frames, bytes: &[u8]| bytes.chunks(size).all(|piece| frames.read(piece, Boot(0)));
            assert!(reads(&mut frames, &frame(PING, 0, 8).repeat(most)), "{size}");
            // Answers to our own, bodies that look like frames, and a call: it may ask again.
            assert!(reads(&mut frames, &[frame(PING, ACK, 8), frame(0, 0, 70_000), frame(HEADERS, 4, 30)].concat()));
            assert!(reads(&mut frames, &frame(SETTINGS, 0, 0).repeat(most)), "{size}");
            assert!(!reads(&mut frames, &frame(PING, 0, 8)), "{size}");
        }
    }

    // rows: GRPC-10
    #[test]
    fn a_ping_a_second_is_calm() {
        let mut frames = begun();
        for second in 0..10_000 {
            assert!(frames.read(&frame(PING, 0, 8), Boot(second * 1000)));
        }
    }
}
