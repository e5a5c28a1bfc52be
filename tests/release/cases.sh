# What the command tests of releases share: sourced by them.
release() { # FOLDER: a small release, signed by a producer and an auditor
    mkdir -p tree/data
    echo hello > tree/readme.txt
    echo image > tree/data/image.nii
    mkdir -p "$1"
    "$(dirname "$(command -v lethe)")/tests/make_release" tree brain 1.0 "$1"
    lethe keygen producer --no-passphrase > /dev/null
    lethe keygen auditor --kind ed25519 --no-passphrase > /dev/null
    export SOURCE_DATE_EPOCH=1780000000
    lethe sign "$1/brain-1.0.tar.zst" --key producer.key > /dev/null
    lethe sign "$1/brain-1.0.tar.zst" --key auditor.key --role auditor > /dev/null
    cat > trust.yaml << EOF
schema: lethe/trust/1
require: { producer: 1, auditor: 1 }
keys:
  - { name: hospital, role: producer, file: producer.pub, until: 2028-01-01 }
  - { name: kth, role: auditor, file: auditor.pub }
EOF
}
mask() { sed -E "s/[0-9a-f]{64}/DIGEST/g; s/ [0-9]+ bytes, in/ N bytes, in/; s/[0-9]+ bytes, but the manifest says [0-9]+/N bytes, but the manifest says M/"; }
