//! What real files do not show: damage at every place, and files that change in form.

use std::fs;

use proptest::prelude::*;
use weir_testkit::Folder;

use super::*;

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tls");
    fs::read(folder.join(name)).unwrap()
}

fn read(certificate: PathBuf, key: Option<PathBuf>, ocsp: Option<PathBuf>) -> Read<Certificate> {
    self::certificate(&CertificateFiles { certificate, key, ocsp }, Purpose::Server, 1_893_456_000)
}

#[test]
fn every_kind_of_key_is_known() {
    let folder = Folder::new("kinds");
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let made =
            rcgen::CertificateParams::new(vec!["a.example.com".into()]).unwrap().self_signed(&key).unwrap();
        let both = made.pem() + &key.serialize_pem();
        let read = read(folder.write("both.pem", both.as_bytes()), None, None);
        let certificate = read.value.unwrap_or_else(|| panic!("{algorithm:?}: {:?}", read.faults));
        assert_eq!(certificate.names, ["a.example.com".into()], "{algorithm:?}");
    }
}

#[test]
fn lines_may_end_as_they_do_elsewhere() {
    let folder = Folder::new("lines");
    let with = |from: &str, to: &str| String::from_utf8(golden(from)).unwrap().replace('\n', to).into_bytes();
    let certificate = folder.write("a.pem", with("chain.pem", "\r\n"));
    let key = folder.write("a.key", with("site.key", "  \n"));
    let read = read(certificate, Some(key), None);
    assert_eq!(read.value.map(|certificate| certificate.chain.len()), Some(2), "{:?}", read.faults);
}

#[test]
fn a_file_that_never_ends_is_not_read() {
    let folder = Folder::new("large");
    let large = folder.write("large.pem", vec![b'\n'; LARGEST as usize + 1]);
    for (path, why) in [(large, "larger than"), (PathBuf::from("/dev/zero"), "not a file")] {
        let read = read(path.clone(), None, None);
        assert!(read.value.is_none());
        let cause = &read.faults[0].cause;
        assert!(cause.contains(why) && cause.contains(&*path.to_string_lossy()), "{cause}");
    }
}

#[test]
fn dates_are_those_of_people() {
    assert_eq!(date(0), "1970-01-01 00:00 UTC");
    assert_eq!(date(1_893_456_000 + 3661), "2030-01-01 01:01 UTC");
    assert_eq!(date(u64::MAX), "9999-12-31 23:59 UTC");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is in a file, it is read or refused with words that name it; nothing panics.
    #[test]
    fn damage_is_refused_in_words(
        which in 0..5usize, at in 0.0..1.0f64, cut in any::<bool>(), with in any::<u8>(), case in any::<u32>(),
    ) {
        let folder = Folder::new(&format!("damage-{case}"));
        let names = ["chain.pem", "site.key", "site.ocsp", "other.sec1.key", "rsa.pkcs1.key"];
        let mut damaged = golden(names[which]);
        let place = (damaged.len() as f64 * at) as usize;
        if cut {
            damaged.truncate(place);
        } else {
            damaged[place] = with;
        }
        let damaged = folder.write("damaged", &damaged);
        let whole = |name: &str| folder.write(name, golden(name));
        let read = match which {
            0 => read(damaged, Some(whole("site.key")), None),
            1 | 3 | 4 => read(whole("site.pem"), Some(damaged), None),
            _ => read(whole("site.pem"), Some(whole("site.key")), Some(damaged)),
        };
        let errors: Vec<_> = read.faults.iter().filter(|fault| fault.severity == Severity::Error).collect();
        prop_assert_eq!(read.value.is_none(), !errors.is_empty());
        for fault in errors {
            prop_assert!(fault.cause.contains(&*folder.to_string_lossy()), "{}", fault.cause);
        }
    }
}
