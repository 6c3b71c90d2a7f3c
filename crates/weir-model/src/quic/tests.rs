//! Datagrams of every kind, whole and cut.

use proptest::prelude::*;

use super::*;

fn long(version: u32, destination: &[u8], source: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0xc3];
    datagram.extend(version.to_be_bytes());
    for id in [destination, source] {
        datagram.push(id.len() as u8);
        datagram.extend(id);
    }
    datagram.extend(rest);
    datagram
}

fn short(destination: &[u8], rest: &[u8]) -> Vec<u8> {
    [&[0x43], destination, rest].concat()
}

#[test]
fn a_name_has_the_same_id_everywhere() {
    // Operators give these to their servers: they are those of every version.
    let id = |length| ServerId::of_name("10.0.0.1:443", length).map(|id| id.to_string());
    let whole = format!("{:016x}", XxHash3_64::oneshot(b"10.0.0.1:443"));
    assert_eq!(id(8).as_deref(), Some(&*whole));
    assert_eq!(id(4).as_deref(), Some(&whole[..8]));
    assert_eq!(id(15).map(|id| id.len()), Some(30));
    assert_eq!((id(0), id(16), id(17)), (None, None, None));
}

#[test]
fn digits_are_read_strictly() {
    for (digits, octets) in [
        ("00", &[0][..]),
        ("0aFf", &[10, 255]),
        ("000102030405060708090a0b0c0d0e", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]),
    ] {
        assert_eq!(ServerId::from_hex(digits), ServerId::new(octets), "{digits}");
        assert!(ServerId::new(octets).is_some());
    }
    for digits in ["", "0", "0g", "+1", "0x01", "é", "000102030405060708090a0b0c0d0e0f", " 01"] {
        assert_eq!(ServerId::from_hex(digits), None, "{digits}");
    }
    assert_ne!(ServerId::new(&[1]), ServerId::new(&[1, 0]));
}

#[test]
fn an_id_without_a_server_has_none() {
    let id = |first: u8| [first, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(server_id(&short(&id(0x00), &[]), 4), Some(&[1, 2, 3, 4][..]));
    assert_eq!(server_id(&short(&id(0xdf), &[]), 4), Some(&[1, 2, 3, 4][..]));
    assert_eq!(server_id(&short(&id(0xe0), &[]), 4), None);
    assert_eq!(server_id(&long(1, &id(0xe0), &[], &[]), 4), None);
}

#[test]
fn a_connection_id_is_no_longer_than_its_header_says() {
    // What follows the connection id is not part of it, though it is there.
    assert_eq!(server_id(&long(1, &[0, 1, 2, 3], &[9; 20], &[9; 1000]), 4), None);
    assert_eq!(server_id(&long(1, &[], &[9; 20], &[9; 1000]), 1), None);
    // No version that we know has such a long one.
    assert_eq!(server_id(&long(7, &[0; 21], &[], &[]), 4), None);
    assert_eq!(server_id(&long(7, &[0; 20], &[], &[]), 4), Some(&[0; 4][..]));
}

proptest! {
    #[test]
    fn the_id_of_a_server_is_found_in_every_header(
        octets in proptest::collection::vec(any::<u8>(), 1..=MOST),
        configuration in 0u8..7,
        random in 0u8..32,
        nonce in proptest::collection::vec(any::<u8>(), NONCE..=20),
        rest in proptest::collection::vec(any::<u8>(), 0..64),
        version in any::<u32>(),
    ) {
        let mut id = vec![configuration << 5 | random];
        id.extend(&octets);
        id.extend(&nonce);
        id.truncate(LONGEST);
        let expected = Some(&octets[..]).filter(|octets| id.len() >= 1 + octets.len() + NONCE);
        let datagrams = [long(version, &id, &[5; 8], &rest), short(&id, &rest)];
        prop_assert_eq!(server_id(&datagrams[0], octets.len()), expected);
        prop_assert_eq!(server_id(&datagrams[1], octets.len()).filter(|_| expected.is_some()), expected);
    }

    #[test]
    fn whatever_comes_is_judged(datagram in proptest::collection::vec(any::<u8>(), 0..64), length in 1..=MOST) {
        // What is found stands in the datagram, and a shorter piece of that has no other.
        if let Some(found) = server_id(&datagram, length) {
            prop_assert_eq!(found.len(), length);
            for end in 0..datagram.len() {
                let cut = server_id(&datagram[..end], length);
                prop_assert!(cut.is_none() || cut == Some(found));
            }
        }
    }
}
