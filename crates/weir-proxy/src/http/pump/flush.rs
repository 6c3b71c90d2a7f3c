//! What is ready to be sent goes out: as bytes, gathered from where they stand, or as frames of a stream.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use super::Pump;
use crate::{buffer::Buffer, clock, duplex::Duplex, http2::Channel, io::Stream};

impl Pump {
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        sink: Duplex<'_>,
    ) -> Poll<io::Result<()>> {
        match sink {
            Duplex::Bytes(stream) => self.poll_write(cx, buffer, stream),
            Duplex::Frames(channel) => self.poll_send(cx, buffer, channel),
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        sink: &Channel,
    ) -> Poll<io::Result<()>> {
        while self.content > 0 {
            let last = self.ending && self.trailers.is_empty();
            let count = ready!(sink.poll_send(cx, buffer.part(0..self.content), last))?;
            self.moved_at = clock::now();
            self.written += count as u64;
            self.content -= count;
            buffer.consume(count);
            if self.content == 0 {
                buffer.consume(std::mem::take(&mut self.spent));
                self.ending &= !last;
            }
        }
        if std::mem::take(&mut self.ending) {
            sink.end(&self.trailers)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        sink: &Stream,
    ) -> Poll<io::Result<()>> {
        loop {
            let lead = &self.lead[self.lead_sent..];
            let content = buffer.part(0..self.content);
            let tail = &self.tail[self.tail_sent..];
            let length = lead.len() + content.len() + tail.len();
            let slices = [IoSlice::new(lead), IoSlice::new(content), IoSlice::new(tail)];
            let slices = match (lead.is_empty(), content.is_empty(), tail.is_empty()) {
                (false, true, true) => &slices[..1],
                (true, false, true) => &slices[1..2],
                (false, false, true) => &slices[..2],
                _ => &slices[..],
            };
            let count = ready!(sink.poll_write(cx, slices))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.moved_at = clock::now();
            self.written += count as u64;
            let in_lead = count.min(lead.len());
            let in_content = (count - in_lead).min(self.content);
            self.lead_sent += in_lead;
            self.tail_sent += count - in_lead - in_content;
            if in_content > 0 {
                self.content -= in_content;
                buffer.consume(in_content);
                if self.content == 0 {
                    buffer.consume(self.spent);
                    self.spent = 0;
                }
            }
            if count == length {
                self.tail.clear();
                self.tail_sent = 0;
                return Poll::Ready(Ok(()));
            }
        }
    }
}
