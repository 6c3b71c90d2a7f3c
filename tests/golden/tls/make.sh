#!/bin/sh
# Makes the certificates, keys and OCSP answers that golden files name, valid for a hundred years where nothing else is
# said. Run it in this folder with OpenSSL 3; what it writes is checked in.
set -eu

serial=1000
days=36500

# name, subject, extensions, issuer ("" signs itself), further options
issue() {
    name=$1 subject=$2 extensions=$3 issuer=$4
    shift 4
    serial=$((serial + 1))
    [ -f "$name.key" ] || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$name.key" 2>/dev/null
    openssl req -new -key "$name.key" -subj "$subject" -out "$name.csr"
    printf '%b' "$extensions" > "$name.ext"
    if [ -n "$issuer" ]; then
        openssl x509 -req -in "$name.csr" -CA "$issuer.pem" -CAkey "$issuer.key" -set_serial "$serial" \
            -days "$days" -extfile "$name.ext" -out "$name.pem" "$@" 2>/dev/null
    else
        openssl x509 -req -in "$name.csr" -key "$name.key" -set_serial "$serial" \
            -days "$days" -extfile "$name.ext" -out "$name.pem" "$@" 2>/dev/null
    fi
    rm "$name.csr" "$name.ext"
}

ca='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'
server='basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName='

issue root '/CN=Golden Root' "$ca" ''
issue between '/CN=Golden Between' "$ca" root
issue site '/CN=www.example.com' "${server}DNS:www.Example.com,DNS:*.example.com,IP:192.0.2.1\n" between
issue other '/CN=other.example.net' "${server}DNS:other.example.net\n" root
issue common '/CN=old.example.org' 'basicConstraints=CA:FALSE\n' root
issue nobody '/O=Nobody' 'basicConstraints=CA:FALSE\n' root
issue client '/CN=ops/O=Partner' 'basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:ops.example.com\n' root
days=1
issue short '/CN=short.example.com' "${server}DNS:short.example.com\n" root
days=36500

openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key 2>/dev/null
issue rsa '/CN=rsa.example.com' "${server}DNS:rsa.example.com\n" root
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out weak.key 2>/dev/null
issue weak '/CN=weak.example.com' "${server}DNS:weak.example.com\n" root
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out curve.key 2>/dev/null
issue curve '/CN=curve.example.com' "${server}DNS:curve.example.com\n" root

# Other forms of the same.
openssl rsa -in rsa.key -traditional -out rsa.pkcs1.key 2>/dev/null
{ openssl ecparam -name prime256v1; openssl ec -in other.key 2>/dev/null; } > other.sec1.key
cat site.pem between.pem > chain.pem
cat between.pem site.pem > reversed.pem
cat site.pem other.pem > unrelated.pem
{ echo 'Bag Attributes: a comment'; cat other.key other.pem; } > combined.pem
cat rsa.key site.key > two.key
openssl pkey -in site.key -aes256 -passout pass:secret -out encrypted.key
openssl ec -in site.key -aes256 -passout pass:secret -out encrypted.sec1.key 2>/dev/null
openssl pkey -in site.key -pubout -out public.key
openssl req -new -key site.key -subj '/CN=www.example.com' -out request.pem
openssl x509 -in site.pem -outform der -out site.der
openssl pkey -in site.key -outform der -out key.der
openssl pkcs12 -export -in site.pem -inkey site.key -passout pass: -out site.p12
openssl crl2pkcs7 -nocrl -certfile site.pem -out site.p7
openssl x509 -in site.pem -trustout -addtrust serverAuth -out trusted.pem
head -c 300 site.pem > cut.pem
sed '3s/.*/!!!! this is no base64 !!!!/' site.pem > garbled.pem
{ echo '-----BEGIN CERTIFICATE-----'; echo 'AAECAwQFBgcICQ=='; echo '-----END CERTIFICATE-----'; } > damaged.pem
: > empty.pem
echo 'nothing of PEM' > words.pem
cat root.pem between.pem root.pem > authorities.pem
cat root.pem root.key > authorities.key.pem

# OCSP answers about site.pem: good, about another one, expired, revoked.
index() { printf '%s\t491121000000Z\t%s\t%s\tunknown\t/CN=x\n' "$1" "$2" "$(openssl x509 -in site.pem -noout -serial | cut -d= -f2)" > index.txt; }
answer() {
    cert=$1 out=$2
    shift 2
    openssl ocsp -issuer between.pem -cert "$cert" -no_nonce -reqout request.der 2>/dev/null
    openssl ocsp -index index.txt -rsigner between.pem -rkey between.key -CA between.pem -reqin request.der \
        -respout "$out" "$@" >/dev/null 2>&1
}
index V ''
answer site.pem site.ocsp -ndays 36500
answer other.pem other.ocsp -ndays 36500
answer site.pem expired.ocsp -nmin 1
index R 261101000000Z
answer site.pem revoked.ocsp -ndays 36500
rm -f index.txt index.txt.attr request.der
