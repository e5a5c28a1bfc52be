"""Signatures of releases, held against independent implementations.

usage: release.py LETHE LETHE_VERIFY MAKE_RELEASE GOLDEN

OpenSSF Model Signing's own package and its JSON Schemas, openssl, minisign, ssh-keygen, zstd, tar. Each
check prints one line; any that does not hold ends the run with exit code 1.
"""
import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import jsonschema
import referencing

lethe, lethe_verify, make_release, golden = sys.argv[1:5]
model_signing = [sys.executable, "-m", "model_signing"]


def run(*arguments, **options):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, **options)


def ok(*arguments, **options):
    result = run(*arguments, **options)
    assert result.returncode == 0, (arguments, result.stdout, result.stderr)
    return result.stdout


def fails(*arguments):
    result = run(*arguments)
    assert result.returncode != 0, (arguments, result.stdout)
    return result.stdout + result.stderr


class Release:
    """A small signed release: producer P-256, auditor Ed25519."""

    def __init__(self, folder):
        self.folder = folder
        tree = folder / "tree"
        for i in range(20):
            # "a-b" and "a/b": signers order by letters or by parts of paths
            for name in (f"data/images/{i:04}.nii.gz", f"data/images-{i}.txt", f"data-{i}"):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).write_bytes(hashlib.sha256(name.encode()).digest() * i)
        ok(make_release, tree, "brain", "1.0", folder)
        (folder / "phrase").write_text("correct horse\n")
        ok(lethe, "keygen", folder / "producer", "--passphrase-file", folder / "phrase", "--ssh")
        ok(lethe, "keygen", folder / "auditor", "--kind", "ed25519", "--no-passphrase", "--minisign", "--ssh")
        self.archive = folder / "brain-1.0.tar.zst"
        ok(lethe, "sign", self.archive, "--key", folder / "producer.key", "--passphrase-file",
           folder / "phrase", "--ssh")
        ok(lethe, "sign", self.archive, "--role", "auditor", "--key", folder / "auditor.key", "--minisign")
        (folder / "trust.yaml").write_text(
            "schema: lethe/trust/1\nrequire: { producer: 1 }\nkeys:\n"
            "  - { name: producer, role: producer, file: producer.pub }\n"
            "  - { name: auditor, role: auditor, file: auditor.pub }\n"
            "  - { name: theirs, role: steward, file: theirs.pub }\n")
        ok("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "theirs.key")
        ok("openssl", "ec", "-in", folder / "theirs.key", "-pubout", "-out", folder / "theirs.pub")
        self.unpacked = folder / "unpacked"
        ok(lethe_verify, self.archive, "--trust", folder / "trust.yaml", "--extract", self.unpacked)

    def bundle(self, role, kind):
        return self.folder / f"brain-1.0.{role}.{kind}.sigstore.json"


def check_extracted(r):
    """tar and zstd unpack the same tree as --extract."""
    ok("bash", "-c", f"mkdir {r.folder}/plain && zstd -dc {r.archive} | tar -x -C {r.folder}/plain")
    ok("diff", "-r", r.folder / "plain/brain-1.0", r.unpacked)
    ok("diff", "-r", r.folder / "tree", r.unpacked)


def check_model_signing_accepts_ours(r):
    """model_signing verifies our bundle over the unpacked tree, and refuses a changed one."""
    arguments = [*model_signing, "verify", "key", r.unpacked, "--signature", r.bundle("producer", "files"),
                 "--public_key", r.folder / "producer.pub"]
    ok(*arguments)
    file = r.unpacked / "data-7"
    before = file.read_bytes()
    file.write_bytes(before + b"x")
    assert "data-7" in fails(*arguments)
    file.write_bytes(before)


def check_we_accept_model_signing(r):
    """A bundle that model_signing made verifies here, and not after a change of the archive's files."""
    theirs = r.folder / "theirs.sig"
    ok(*model_signing, "sign", "key", r.unpacked, "--private_key", r.folder / "theirs.key", "--signature", theirs)
    arguments = [lethe_verify, r.archive, "--trust", r.folder / "trust.yaml", "--json", "--bundle",
                 r.bundle("producer", "audit"), "--bundle", theirs]
    signers = json.loads(ok(*arguments))["signers"]
    assert [(s["name"], s["statement"]) for s in signers] == [("producer", "audit"), ("theirs", "files")]
    (r.unpacked / "data-7").write_bytes(b"changed")
    ok(*model_signing, "sign", "key", r.unpacked, "--private_key", r.folder / "theirs.key", "--signature", theirs)
    assert "another digest of \\\"data-7\\\"" in fails(*arguments)
    (r.unpacked / "data-7").write_bytes((r.folder / "tree/data-7").read_bytes())


def check_certificates(r):
    """With a certificate: model_signing verifies ours, and we verify model_signing's."""
    f = r.folder
    (f / "ext").write_text("basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                           "extendedKeyUsage=codeSigning\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    ok("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
       f / "root.key", "-out", f / "root.pem", "-subj", "/CN=root", "-days", "30", "-addext", "keyUsage=critical,keyCertSign")
    ok("openssl", "req", "-new", "-key", f / "theirs.key", "-out", f / "leaf.csr", "-subj", "/CN=steward")
    ok("openssl", "x509", "-req", "-in", f / "leaf.csr", "-CA", f / "root.pem", "-CAkey", f / "root.key",
       "-CAcreateserial", "-days", "10", "-extfile", f / "ext", "-out", f / "leaf.pem")
    ok(lethe, "sign", r.archive, "--role", "steward", "--key", f / "theirs.key", "--certificates", f / "leaf.pem")
    ok(*model_signing, "verify", "certificate", r.unpacked, "--signature", r.bundle("steward", "files"),
       "--certificate_chain", f / "root.pem")
    ok(*model_signing, "sign", "certificate", r.unpacked, "--private_key", f / "theirs.key", "--signing_certificate",
       f / "leaf.pem", "--certificate_chain", f / "root.pem", "--signature", f / "certificate.sig")
    (f / "ca.yaml").write_text("schema: lethe/trust/1\nrequire: { steward: 1 }\nauthorities:\n"
                               "  - { name: ca, role: steward, file: root.pem, subject: CN=steward }\n")
    found = json.loads(ok(lethe_verify, r.archive, "--trust", f / "ca.yaml", "--json", "--bundle",
                          r.bundle("steward", "audit"), "--bundle", f / "certificate.sig"))
    assert [s["identity"] for s in found["signers"]] == ["CN=steward", "CN=steward"]


def check_schemas(r):
    """Our bundles and statements satisfy Model Signing's JSON Schemas."""
    schemas = {p.name.split(".")[0]: json.loads(p.read_text())
               for p in pathlib.Path(golden, "model-signing/schemas").iterdir()}
    registry = referencing.Registry().with_resources(
        (s["$id"], referencing.Resource.from_contents(s)) for s in schemas.values())
    validator = {name: jsonschema.Draft202012Validator(s, registry=registry) for name, s in schemas.items()}
    for role in ("producer", "auditor"):
        for kind in ("files", "audit"):
            bundle = json.loads(r.bundle(role, kind).read_text())
            validator["bundle"].validate(bundle)
            if kind == "files":
                validator["statement"].validate(json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"])))


def check_openssl(r):
    """openssl verifies the DSSE signatures, and opens the encrypted key."""
    for role, options in (("producer", ["dgst", "-sha256", "-verify"]), ("auditor", None)):
        envelope = json.loads(r.bundle(role, "audit").read_text())["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        kind = envelope["payloadType"].encode()
        (r.folder / "pae").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
        (r.folder / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
        key = r.folder / f"{role}.pub"
        if options:
            ok("openssl", *options, key, "-signature", r.folder / "sig", r.folder / "pae")
        else:
            ok("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", r.folder / "pae",
               "-sigfile", r.folder / "sig")
    public = ok("openssl", "pkey", "-in", r.folder / "producer.key", "-passin", "pass:correct horse", "-pubout")
    assert public == (r.folder / "producer.pub").read_text()
    fails("openssl", "pkey", "-in", r.folder / "producer.key", "-passin", "pass:wrong", "-pubout")


def check_minisign(r):
    """minisign verifies archive and comment, and refuses a changed archive."""
    signature = f"{r.archive}.minisig"
    ok("minisign", "-Vm", r.archive, "-x", signature, "-p", r.folder / "auditor.minisign.pub")
    changed = r.folder / "changed"
    changed.write_bytes(r.archive.read_bytes() + b"x")
    fails("minisign", "-Vm", changed, "-x", signature, "-p", r.folder / "auditor.minisign.pub")


def check_ssh(r):
    """ssh-keygen verifies signatures of both kinds of key, and refuses a changed archive."""
    for role in ("producer", "auditor"):
        signature = pathlib.Path(f"{r.archive}.sig")
        if role == "auditor":
            signature.unlink()
            ok(lethe, "sign", r.archive, "--role", "auditor", "--label", "ssh", "--key", r.folder / "auditor.key", "--ssh")
        (r.folder / "allowed").write_text(f"me@example.org {(r.folder / f'{role}.ssh.pub').read_text()}")
        command = ["ssh-keygen", "-Y", "verify", "-f", r.folder / "allowed", "-I", "me@example.org", "-n", "file",
                   "-s", signature]
        with open(r.archive, "rb") as archive:
            ok(*command, stdin=archive)
        with open(r.folder / "trust.yaml", "rb") as other:
            assert run(*command, stdin=other).returncode != 0


def main():
    with tempfile.TemporaryDirectory() as folder:
        release = Release(pathlib.Path(folder))
        for check in (check_extracted, check_model_signing_accepts_ours, check_we_accept_model_signing,
                      check_certificates, check_schemas, check_openssl, check_minisign, check_ssh):
            check(release)
            print(f"ok: {check.__doc__.splitlines()[0]}")


main()
