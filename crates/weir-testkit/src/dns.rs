//! A name server that answers what it is told, over UDP and TCP.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::backend::lock;

/// Bytes of an answer over UDP (RFC 1035, without the extension).
const MOST_UDP: usize = 512;
/// How soon the threads notice that nobody needs them any more.
const GLANCE: Duration = Duration::from_millis(20);

/// What is answered to one question.
#[derive(Clone, Debug)]
pub enum DnsReply {
    /// These records, whatever their names and kinds.
    Records(Vec<DnsRecord>),
    /// The name exists, but has no such record.
    Empty,
    /// There is no such name.
    NxDomain,
    /// The server cannot say.
    ServFail,
    /// The server does not want to say.
    Refused,
    /// Nothing at all.
    Silence,
    /// Something that is no message.
    Garbage,
}

/// One record.
#[derive(Clone, Debug)]
pub struct DnsRecord {
    /// Whose it is; empty for the name that was asked for.
    pub name: String,
    /// In seconds.
    pub ttl: u32,
    /// What it says.
    pub data: DnsData,
}

/// What a record says.
#[derive(Clone, Debug)]
pub enum DnsData {
    /// An address of version 4.
    A(Ipv4Addr),
    /// An address of version 6.
    Aaaa(Ipv6Addr),
    /// Another name.
    Cname(String),
    /// Priority, weight, port and target of a service.
    Srv(u16, u16, u16, String),
}

impl DnsData {
    const fn kind(&self) -> u16 {
        match self {
            Self::A(_) => 1,
            Self::Cname(_) => 5,
            Self::Aaaa(_) => 28,
            Self::Srv(..) => 33,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::A(address) => address.octets().to_vec(),
            Self::Aaaa(address) => address.octets().to_vec(),
            Self::Cname(name) => name_bytes(name),
            Self::Srv(priority, weight, port, target) => {
                let numbers = [priority, weight, port].into_iter().flat_map(|number| number.to_be_bytes());
                numbers.chain(name_bytes(target)).collect()
            }
        }
    }
}

impl From<DnsData> for DnsRecord {
    fn from(data: DnsData) -> Self {
        Self { name: String::new(), ttl: 1, data }
    }
}

type Zone = HashMap<(String, &'static str), DnsReply>;

/// A name server on a loopback port of its own; it ends when it is dropped.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Room {
    zone: Mutex<Zone>,
    asked: AtomicUsize,
    over_tcp: AtomicUsize,
    over: AtomicBool,
}

impl DnsServer {
    /// A server that knows no name yet.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start() -> Self {
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
                let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
                Some((udp, tcp))
            })
            .expect("a port that is free for both");
        let address = udp.local_addr().expect("an address");
        let room = Arc::new(Room::default());
        let (of_udp, of_tcp) = (room.clone(), room.clone());
        udp.set_read_timeout(Some(GLANCE)).expect("a time-out");
        tcp.set_nonblocking(true).expect("a mode");
        thread::spawn(move || serve_udp(&udp, &of_udp));
        thread::spawn(move || serve_tcp(&tcp, &of_tcp));
        Self { address, room }
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers this from now on to questions for a name and a kind (`A`, `AAAA`, `SRV`). A name of which only other kinds
    /// were told has none of this kind.
    pub fn tell(&self, name: &str, kind: &'static str, reply: DnsReply) {
        lock(&self.room.zone).insert((name.to_owned(), kind), reply);
    }

    /// Answers these addresses from now on, with a time to live of a second.
    pub fn tell_addresses(&self, name: &str, addresses: &[Ipv4Addr]) {
        let records = addresses.iter().map(|address| DnsData::A(*address).into()).collect();
        self.tell(name, "A", DnsReply::Records(records));
    }

    /// Questions so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.room.asked.load(Ordering::Relaxed)
    }

    /// How many of them came over TCP.
    #[must_use]
    pub fn asked_over_tcp(&self) -> usize {
        self.room.over_tcp.load(Ordering::Relaxed)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.room.over.store(true, Ordering::Relaxed);
    }
}

fn serve_udp(socket: &UdpSocket, room: &Room) {
    let mut question = [0; 4096];
    while !room.over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
        let Some(answer) = room.answer(&question[..length]) else { continue };
        let whole = if answer.len() > MOST_UDP { truncated(&question[..length]) } else { answer };
        let _ = socket.send_to(&whole, from);
    }
}

fn serve_tcp(listening: &TcpListener, room: &Arc<Room>) {
    while !room.over.load(Ordering::Relaxed) {
        match listening.accept() {
            Ok((stream, _)) => {
                let room = room.clone();
                thread::spawn(move || serve_stream(stream, &room));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(GLANCE),
            Err(_) => return,
        }
    }
}

fn serve_stream(mut stream: TcpStream, room: &Room) {
    let mut length = [0; 2];
    if stream.set_nonblocking(false).is_err() {
        return;
    }
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        room.over_tcp.fetch_add(1, Ordering::Relaxed);
        let Some(answer) = room.answer(&question) else { continue };
        let length = u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes();
        if stream.write_all(&[&length[..], &answer].concat()).is_err() {
            return;
        }
    }
}

impl Room {
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (name, kind, end) = asked(question)?;
        let kind = match kind {
            1 => "A",
            28 => "AAAA",
            33 => "SRV",
            _ => "other",
        };
        let zone = lock(&self.zone);
        let known = |(other, _): &(String, &str)| *other == name;
        let reply = match zone.get(&(name.clone(), kind)) {
            Some(reply) => reply.clone(),
            None if zone.keys().any(known) => DnsReply::Empty,
            None => DnsReply::NxDomain,
        };
        let (code, records) = match reply {
            DnsReply::Records(records) => (0, records),
            DnsReply::Empty => (0, Vec::new()),
            DnsReply::ServFail => (2, Vec::new()),
            DnsReply::NxDomain => (3, Vec::new()),
            DnsReply::Refused => (5, Vec::new()),
            DnsReply::Silence => return None,
            DnsReply::Garbage => return Some([&question[..2], &[0xff; 40]].concat()),
        };
        Some(message(&question[..end], code, &name, &records))
    }
}

/// Name, kind and end of the one question of a message.
fn asked(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut name = String::new();
    let mut at = 12;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(message.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = message.get(at..at + 2)?;
    Some((name, u16::from_be_bytes([kind[0], kind[1]]), at + 4))
}

fn message(question: &[u8], code: u8, name: &str, records: &[DnsRecord]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap_or(u16::MAX).to_be_bytes();
    // An answer, recursion desired and available, one question.
    let mut out = vec![question[0], question[1], 0x81, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0];
    out.extend_from_slice(&question[12..]);
    for record in records {
        let owner = if record.name.is_empty() { name } else { &record.name };
        out.extend(name_bytes(owner));
        out.extend(record.data.kind().to_be_bytes());
        out.extend(1u16.to_be_bytes());
        out.extend(record.ttl.to_be_bytes());
        let data = record.data.bytes();
        out.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(data);
    }
    out
}

/// The same question back, with the word that the answer is too long for UDP.
fn truncated(question: &[u8]) -> Vec<u8> {
    let end = asked(question).map_or(question.len(), |(_, _, end)| end);
    let mut out = message(&question[..end], 0, "", &[]);
    out[2] |= 0x02;
    out
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}
