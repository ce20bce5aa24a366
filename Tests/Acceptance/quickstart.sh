#!/usr/bin/env bash
# The Quick Start, line by line as it is written; run it in a network namespace of its own (fixed ports).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
ip link set lo up
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
ln -s "$root/output" output
serve() { "$@" >>log 2>&1 & pids+=($!); }

serve ./output/shardctrlerserver -id 0 -cluster "localhost:50051,localhost:50052,localhost:50053" -db "data/sc0"
serve ./output/shardctrlerserver -id 1 -cluster "localhost:50051,localhost:50052,localhost:50053" -db "data/sc1"
serve ./output/shardctrlerserver -id 2 -cluster "localhost:50051,localhost:50052,localhost:50053" -db "data/sc2"
serve ./output/shardkvserver -id 0 -gid 100 -cluster "localhost:6001,localhost:6002,localhost:6003" -ctrlers "localhost:50051,localhost:50052,localhost:50053" -db "data/skv100_0"
serve ./output/shardkvserver -id 1 -gid 100 -cluster "localhost:6001,localhost:6002,localhost:6003" -ctrlers "localhost:50051,localhost:50052,localhost:50053" -db "data/skv100_1"
serve ./output/shardkvserver -id 2 -gid 100 -cluster "localhost:6001,localhost:6002,localhost:6003" -ctrlers "localhost:50051,localhost:50052,localhost:50053" -db "data/skv100_2"
serve ./output/shardkvserver -id 0 -gid 101 -cluster "localhost:7001,localhost:7002,localhost:7003" -ctrlers "localhost:50051,localhost:50052,localhost:50053" -db "data/skv101_0" -engine lmdb
serve ./output/shardkvserver -id 1 -gid 101 -cluster "localhost:7001,localhost:7002,localhost:7003" -ctrlers "localhost:50051,localhost:50052,localhost:50053" -db "data/skv101_1" -engine lmdb
serve ./output/shardkvserver -id 2 -gid 101 -cluster "localhost:7001,localhost:7002,localhost:7003" -ctrlers "localhost:50051,localhost:50052,localhost:50053" -db "data/skv101_2" -engine lmdb

# Register Group 100
./output/shardctrlerclient join 100=localhost:6001,localhost:6002,localhost:6003
# Register Group 101
./output/shardctrlerclient join 101=localhost:7001,localhost:7002,localhost:7003
# Write data
./output/shardkvclient put mykey myvalue
# Read data
[ "$(./output/shardkvclient get mykey)" = myvalue ]
# Append data
./output/shardkvclient append mykey " extra"
[ "$(./output/shardkvclient get mykey)" = "myvalue extra" ]
# Go's rules: flags end at the first argument.
./output/shardkvclient put dash -v
[ "$(./output/shardkvclient get dash)" = "-v" ]
# Run benchmark
./output/shardkvclient bench 1000
# ShardKV status
./output/shardkvclient status
# ShardCtrler status
./output/shardctrlerclient status
./output/shardctrlerclient move 5 101
./output/shardctrlerclient query
# The dashboard, and how it is asked on the page's behalf.
serve ./output/dashboard-server -port=8080 -config-addrs="localhost:50051,localhost:50052,localhost:50053" -update-interval=5s
/usr/bin/python3 - <<'END'
import json, time, urllib.request
for _ in range(150):
    try:
        state = json.load(urllib.request.urlopen("http://localhost:8080/api/dashboard", timeout=5))
        if state["metrics"]["healthyNodes"] == 9 and len(state["topology"]["shardGroups"]) == 2:
            break
    except OSError:
        pass
    time.sleep(0.2)
else:
    raise SystemExit(f"the dashboard shows {state['metrics']}")
assert b"<title>" in urllib.request.urlopen("http://localhost:8080/", timeout=5).read()
END
if ./output/shardkvclient frobnicate; then exit 1; else [ $? = 64 ]; fi
if ./output/shardkvserver -bogus 1; then exit 1; else [ $? = 64 ]; fi
