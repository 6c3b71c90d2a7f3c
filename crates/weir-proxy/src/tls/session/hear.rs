//! What an established session hears beside data: alerts, new keys, tickets, and wishes that are not granted.

use std::io::IoSlice;

use rustls::AlertDescription;
use weir_model::tls::Version;

use super::{
    super::record::{ALERT, Broken, Content, HANDSHAKE, Keys},
    End, Inner, KEY_UPDATE, Schedule,
};

/// Records in a row that carry nothing for us: more are an attack.
const MOST_IDLE_RECORDS: u8 = 32;
/// The longest message behind the handshake: a ticket with a certificate in it.
const MOST_MESSAGE: usize = 1 << 16;
/// Handshake messages (RFC 8446 section 4, RFC 5246 section 7.4).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;

impl Inner {
    /// A record of data has come, empty or not.
    pub(super) fn note_data(&mut self, length: usize) -> Result<(), Broken> {
        if !self.message.is_empty() {
            let because = "data came in the middle of a TLS message";
            return Err(Broken::new(AlertDescription::UnexpectedMessage, because));
        }
        if length > 0 {
            self.idle_records = 0;
            return Ok(());
        }
        self.note_idle()
    }

    fn note_idle(&mut self) -> Result<(), Broken> {
        self.idle_records += 1;
        if self.idle_records > MOST_IDLE_RECORDS {
            let because = "too many TLS records without data in a row";
            return Err(Broken::new(AlertDescription::UnexpectedMessage, because));
        }
        Ok(())
    }

    /// A record that is not data.
    pub(super) fn hear(&mut self, kind: u8, content: &[u8]) -> Result<(), Broken> {
        self.note_idle()?;
        if kind == ALERT {
            return self.hear_alert(content);
        }
        debug_assert_eq!(kind, HANDSHAKE);
        if self.message.len() + content.len() > MOST_MESSAGE {
            let because = "a TLS message is too long";
            return Err(Broken::new(AlertDescription::DecodeError, because));
        }
        self.message.extend_from_slice(content);
        while let &[kind, high, middle, low, ..] = &*self.message {
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if length > MOST_MESSAGE {
                let because = "a TLS message is too long";
                return Err(Broken::new(AlertDescription::DecodeError, because));
            }
            if self.message.len() < 4 + length {
                return Ok(());
            }
            let rest = self.message.split_off(4 + length);
            let message = std::mem::replace(&mut self.message, rest);
            self.hear_message(kind, &message[4..])?;
        }
        if self.message.is_empty() {
            self.message = Vec::new();
        }
        Ok(())
    }

    fn hear_alert(&mut self, content: &[u8]) -> Result<(), Broken> {
        let &[level, description] = content else {
            return Err(Broken::new(AlertDescription::DecodeError, "a TLS alert is malformed"));
        };
        match (AlertDescription::from(description), level) {
            (AlertDescription::CloseNotify, _) => self.end = Some(End::Closed),
            (AlertDescription::UserCanceled, _) => {}
            // Warnings are no longer known to TLS 1.3.
            (_, 1) if self.version == Version::Tls12 => {}
            (alert, _) => {
                self.end = Some(End::Broken(Broken::told(alert)));
                // It is not told what it has said itself.
                self.said_end = true;
            }
        }
        Ok(())
    }

    fn hear_message(&mut self, kind: u8, body: &[u8]) -> Result<(), Broken> {
        let unexpected =
            Broken::new(AlertDescription::UnexpectedMessage, "a TLS message is not expected any more");
        match (self.version, kind) {
            (Version::Tls13, KEY_UPDATE) => {
                let &[asks @ (0 | 1)] = body else {
                    let alert = match body {
                        [_] => AlertDescription::IllegalParameter,
                        _ => AlertDescription::DecodeError,
                    };
                    return Err(Broken::new(alert, "a TLS message about new keys is malformed"));
                };
                // What comes behind it would have to be sealed with the new keys.
                if !self.message.is_empty() {
                    return Err(unexpected);
                }
                let secrets = self.schedule.next(false).map_err(|_| Broken::INTERNAL)?;
                self.opening = Keys::new(self.version, secrets).ok_or(Broken::INTERNAL)?;
                self.owes_key_update |= asks == 1;
                Ok(())
            }
            (Version::Tls13, NEW_SESSION_TICKET) => match &mut self.schedule {
                Schedule::Client(kernel) => kernel.handle_new_session_ticket(body).map_err(|_| {
                    Broken::new(AlertDescription::IllegalParameter, "a TLS session ticket is malformed")
                }),
                _ => Err(unexpected),
            },
            // A new handshake is refused politely (RFC 5746 section 4.5); who insists is not served.
            (Version::Tls12, HELLO_REQUEST | CLIENT_HELLO) if self.outbox.is_empty() => {
                let warning = [1, AlertDescription::NoRenegotiation.into()];
                self.outbox.seal(&mut self.sealing, ALERT, Content::of(&[IoSlice::new(&warning)], 0))
            }
            _ => Err(unexpected),
        }
    }
}
