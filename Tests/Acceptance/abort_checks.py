"""Moves that end without arriving, and groups that are lost for good."""

import os
import shutil

from checks import check
from harness import Cluster, Writers, require, wait_for


def all_at(cluster, gid):
    """Every shard is at this group, by hand, so that it stays there."""
    for shard, owner in enumerate(cluster.query()["shards"]):
        if owner != gid:
            cluster.move(shard, gid)
    cluster.wait_settled()


def lose(cluster, gid):
    for node in cluster.group(gid):
        node.kill()
        shutil.rmtree(node.directory)


def hold_activations(cluster, gid, milliseconds):
    """The group's leaders wait so long before they say that their group is to serve what its members have staged."""
    for node in cluster.group(gid):
        node.kill()
        node.start({"FLOTILLA_FAILPOINTS": f"before-activate={milliseconds}"})
    cluster.leader(gid)


def back_up(cluster):
    out = os.path.join(cluster.path, "backup")
    code, _, err = cluster.cli("backup", "create", "--controllers", cluster.endpoints, "--out", out, timeout=120)
    require(code == 0, f"backup create: exit {code}: {err}")


def frozen(cluster, shard, gid):
    """Waits until the shard is frozen at its source."""
    wait_for("the frozen shard", lambda: any(
        row["state"] == "BePulling" and row["shardId"] == shard
        for node in cluster.status(gid) for row in node["shards"]))


def staged(cluster, shard, gid, count=3):
    """Waits until the source, group 100, has frozen it, and so many members of the target have it."""
    def nodes(group, state):
        return sum(
            row["state"] == state and row["shardId"] == shard
            for node in cluster.status(group) for row in node["shards"])
    wait_for("the frozen shard", lambda: nodes(100, "BePulling") >= 1)
    wait_for("the staged shard", lambda: nodes(gid, "Pulling") >= count)


@check()
def a_move_to_a_group_that_is_down_can_be_aborted(engine):
    with Cluster(engine, shards=2).up() as cluster:
        keys = {f"key{number}": f"value{number}" for number in range(50)}
        cluster.put_many(list(keys.items()))
        all_at(cluster, 100)
        for node in cluster.group(101):
            node.kill()
        cluster.move(0, 101)
        require(cluster.query()["moves"][0]["phase"] == "Moving", f"{cluster.query()}")
        out = cluster.run("controller", "move", "0", "--abort").decode()
        require("shard 0: the move to group 101 is being aborted" in out, out)
        cluster.wait_settled(30)
        require(cluster.query()["shards"] == [100, 100], f"{cluster.query()}")
        cluster.run("kv", "put", "key0", "again")
        keys["key0"] = "again"
        require(cluster.contents() == keys, "contents differ")
        # Of nothing.
        number = cluster.query()["config"]
        for arguments in (["--abort"], ["--force-abort", "--accept-loss"]):
            code, _, err = cluster.cli("controller", "move", "0", *arguments)
            require(code == 1 and "shard 0 is not on the move" in err, f"{arguments}: exit {code}: {err}")
        for arguments, words in (
            (["7", "--abort"], "out of range"),
            (["0", "101", "--abort"], "names no group"), (["0", "--accept-loss"], "--force-abort"),
            (["0", "--force-abort"], "--accept-loss"), (["0", "--abort", "--force-abort"], "not both"), (["0"], "<gid>"),
        ):
            code, _, err = cluster.cli("controller", "move", *arguments)
            require(code == (1 if words == "out of range" else 64) and words in err, f"{arguments}: exit {code}: {err}")
        require(cluster.query()["config"] == number, "a refused abort made a config")
        cluster.run("controller", "leave", "101")
        back_up(cluster)


@check()
def a_group_that_leaves_in_the_middle_of_a_move_takes_nothing_over(engine):
    with Cluster(engine, shards=2).up() as cluster:
        all_at(cluster, 100)
        hold_activations(cluster, 101, 3000)
        with Writers(cluster, count=4) as writers:
            wait_for("writes", lambda: writers.total() > 20)
            cluster.move(0, 101)
            staged(cluster, 0, 101)
            cluster.run("controller", "leave", "101")
            cluster.wait_settled(30)
            config = cluster.query()
            require(config["shards"] == [100, 100] and list(config["groups"]) == ["100"], f"{config}")
            before = writers.total()
            wait_for("more writes", lambda: writers.total() > before + 20)
        writers.verify()
        back_up(cluster)


@check()
def a_shard_that_is_frozen_for_a_group_that_is_lost_for_good_is_served_again_by_force(engine):
    with Cluster(engine, shards=2).up() as cluster:
        all_at(cluster, 100)
        hold_activations(cluster, 101, 60000)
        keys = {f"key{number}": f"value{number}" for number in range(50)}
        cluster.put_many(list(keys.items()))
        cluster.move(0, 101)
        frozen(cluster, 0, 100)
        staged(cluster, 0, 101)
        lose(cluster, 101)
        cluster.run("controller", "move", "0", "--abort")
        require(cluster.cli("kv", "scan", "--timeout", "3")[0] == 69, "a shard that may be served elsewhere is served")
        config = cluster.query()
        require([move["phase"] for move in config["moves"]] == ["Aborting"], f"only the target's log decides: {config}")
        code, _, err = cluster.cli("controller", "move", "0", "--force-abort")
        require(code == 64 and "would be lost" in err, f"without --accept-loss: exit {code}: {err}")
        cluster.run("controller", "move", "0", "--force-abort", "--accept-loss")
        require(cluster.query()["moves"] == [], f"{cluster.query()}")
        wait_for("the shard", lambda: cluster.cli("kv", "scan", "--limit", "100", "--timeout", "5")[0] == 0, 30)
        require(cluster.contents() == keys, "contents differ")
        cluster.run("kv", "put", "key0", "again")
        cluster.run("controller", "leave", "101")
        back_up(cluster)


@check()
def a_shard_of_a_lost_group_ends_where_its_newest_copy_is(engine):
    with Cluster(engine, shards=2).up() as cluster:
        all_at(cluster, 100)
        hold_activations(cluster, 101, 6000)
        keys = {f"key{number}": f"value{number}" for number in range(60)}
        cluster.put_many(list(keys.items()))
        cluster.move(0, 101)
        staged(cluster, 0, 101)
        lose(cluster, 100)
        out = cluster.run("controller", "give-up", "100", "--lose-data").decode()
        require("shards 1: lost" in out and "shards 0: lost unless their targets have them" in out, out)
        cluster.wait_settled(30)
        require(cluster.query()["shards"] == [101, 100], f"{cluster.query()}")
        for node in cluster.group(100):
            node.start()
        cluster.ready()
        found = cluster.contents()
        require(found and found.items() <= keys.items() and len(found) < len(keys), f"{len(found)} keys are left")
        cluster.run("kv", "put", "key0", "again")
        back_up(cluster)
