# Short names for the project's commands. Never required: each recipe is one line that can be typed.

# List the recipes
default:
    @just --list --unsorted

# Everything a commit must pass; or only the steps named
ci *steps:
    bash .ci/run {{ steps }}

# Format the code
fmt:
    cargo fmt --all

# Format check and clippy, warnings denied
lint:
    bash .ci/run format clippy

# All tests that need only Rust and a C compiler
test *args:
    cargo test {{ args }}

# Sizes and style
tidy:
    cargo test -p kinetide-cli --test tidy

# The main job in a minute, on the embedded endpoint
demo *args:
    cargo run --release -- demo {{ args }}

# Real clients as judges: python, node, java2; all without a name
conformance *names:
    conformance/run {{ names }}

# Fleets in virtual time: `just sim --seeds 0..200`, `just sim --scenario cost`
sim *args:
    cargo run --release -p kinetide-sim -- {{ args }}

# The binary against its goals: failover
bench *args:
    bench/run {{ args }}

# API documentation, warnings denied
docs:
    bash .ci/run docs

# Licences, bans, advisories and sources of the dependencies
deny:
    cargo deny check
