#!/bin/sh
# Builds what the demo needs and runs it. Called by ./dev demo, which has installed the tools. Options go to demo.py.
set -eu
. tools/dev/lib.sh

demo_build() {
  dev_build release near &&
    .venv/bin/python -m pip install -q --no-deps --no-build-isolation --force-reinstall ./python &&
    (cd node && npm run --silent prepare) &&
    (cd examples/demo/load && npm ci --no-audit --no-fund) &&
    (cd examples/demo/names && go build -o "$KEEL_ROOT/build/demo/names" .) &&
    cp build/release/examples/demo/near build/demo/near
}

mkdir -p build/demo
say "building the engine and the bindings (the first time takes a minute)"
demo_build >"$DEV_STATE/logs/demo.log" 2>&1 || {
  tail -n 40 "$DEV_STATE/logs/demo.log" >&2
  die "demo: the build failed; the whole output is in $DEV_STATE/logs/demo.log"
}
exec .venv/bin/python examples/demo/demo.py --build build/demo "$@"
