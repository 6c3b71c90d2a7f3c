//! Pebble, with the name server that it asks.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{
    peers::folder,
    process::{Running, free_address},
};

/// A certificate for 127.0.0.1, its key, and who has signed it, as files.
pub(super) struct Papers {
    pub(super) ca: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Papers {
    pub(super) fn new(name: &str) -> Result<Self> {
        let folder = folder(name)?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (ca_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
        // Two of the same name would be taken for each other.
        ca.distinguished_name.push(DnType::CommonName, format!("weir {name}"));
        let mut own = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        own.distinguished_name.push(DnType::CommonName, "weir authority");
        let papers = Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("own.pem"),
            key: folder.join("own.key"),
        };
        fs::write(&papers.ca, ca.self_signed(&ca_key)?.pem())?;
        fs::write(&papers.certificate, own.signed_by(&key, &Issuer::new(ca, &ca_key))?.pem())?;
        fs::write(&papers.key, key.serialize_pem())?;
        Ok(papers)
    }
}

/// An authority that is running.
pub(super) struct Authority {
    pub(super) directory: String,
    /// Who has signed the certificate of the directory.
    pub(super) ca: PathBuf,
    /// Where it asks for proofs, whatever the name.
    pub(super) http: SocketAddr,
    pub(super) tls: SocketAddr,
    management: SocketAddr,
    folder: PathBuf,
    pebble: Running,
    _names: Running,
}

impl Authority {
    /// One whose certificates are valid for so many seconds.
    pub(super) fn start(name: &str, validity: u32) -> Result<Self> {
        let folder = folder(name)?;
        let papers = Papers::new(name)?;
        let (listen, management, names) = (free_address()?, free_address()?, free_address()?);
        let (http, tls) = (free_address()?, free_address()?);
        let configuration = serde_json::json!({ "pebble": {
            "listenAddress": listen.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": papers.certificate,
            "privateKey": papers.key,
            "httpPort": http.port(),
            "tlsPort": tls.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "retryAfter": { "authz": 1, "order": 1 },
            "certificateValidityPeriod": validity,
        }});
        let file = folder.join("pebble.json");
        fs::write(&file, configuration.to_string())?;
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", &names.to_string()]);
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        command.args(["-management", &free_address()?.to_string()]);
        let resolver = Running::start(&mut command, &folder.join("names"))?;
        resolver.listens(names)?;
        let mut command = Command::new("pebble");
        command.arg("-config").arg(&file).args(["-dnsserver", &names.to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1");
        let pebble = Running::start(&mut command, &folder)?;
        pebble.listens(listen)?;
        let directory = format!("https://{listen}/dir");
        Ok(Self { directory, ca: papers.ca, http, tls, management, folder, pebble, _names: resolver })
    }

    /// A file with the certificate that everything it issues leads back to; it is another one at each start.
    pub(super) fn root(&self) -> Result<PathBuf> {
        let output = Command::new("curl")
            .args(["-sS", "--cacert"])
            .arg(&self.ca)
            .arg(format!("https://{}/roots/0", self.management))
            .output()?;
        ensure!(output.stdout.starts_with(b"-----BEGIN"), "{}", String::from_utf8_lossy(&output.stderr));
        let root = self.folder.join("root.pem");
        fs::write(&root, output.stdout).with_context(|| format!("{}", Path::display(&root)))?;
        Ok(root)
    }

    /// How many orders have been placed.
    pub(super) fn orders(&self) -> usize {
        self.pebble.said().lines().filter(|line| line.contains("Added order")).count()
    }
}
