// What every verb shares: help, exit codes, where output goes, where options come from.
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace zoo::test::frame {

const std::vector<std::string> kVerbs = {"list", "info", "run", "train", "eval", "verify", "convert", "bench", "doctor"};

TEST_CASE("every verb has help with examples and the common options", "[cli]") {
  for (const auto& verb : kVerbs) {
    INFO(verb);
    const auto outcome = zoo_program(verb + " --help");
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    CHECK(has(outcome.out, "Examples:\n  zoo " + verb));
    for (const char* option : {"--json", "--device", "--threads", "--seed", "--log-level", "--config"}) CHECK(has(outcome.out, option));
  }
}

TEST_CASE("help and version go to standard output", "[cli]") {
  const auto help = zoo_program("--help");
  CHECK(help.code == 0);
  for (const auto& verb : kVerbs) CHECK(has(help.out, "\n  " + verb + " "));
  const auto version = zoo_program("--version");
  CHECK(version.code == 0);
  CHECK(version.out.rfind("zoo ", 0) == 0);
  CHECK(version.err.empty());
}

TEST_CASE("mistakes in the call end with 2, a hint, and nothing on standard output", "[cli]") {
  struct Mistake {
    const char *arguments, *hint;
  };
  for (const auto& mistake : {Mistake{"lst", "nearest: list"}, Mistake{"list --tsk embedding", "--task"},
                              Mistake{"list --task embeding", "embedding"}, Mistake{"list --threads many", "--threads"},
                              Mistake{"list --threads -1", "--threads"}, Mistake{"info", "X is required"},
                              Mistake{"list --log-level loud", "--log-level"}, Mistake{"list a b", "b"},
                              Mistake{"bench bert:tiny --device tpu", "expected cpu, cuda, cuda:N or auto"},
                              Mistake{"bench bert:tiny --dtype int4", "expected some of float32"}}) {
    INFO(mistake.arguments);
    const auto outcome = zoo_program(mistake.arguments);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.rfind("zoo: error: ", 0) == 0);
    CHECK(has(outcome.err, mistake.hint));
  }
  const auto nothing = zoo_program("");
  CHECK(nothing.code == 2);
  CHECK(has(nothing.err, "Usage"));
}

TEST_CASE("failures end with 1 and name what was expected", "[cli]") {
  const auto missing = zoo_program("info no/such/folder");
  CHECK(missing.code == 1);
  CHECK(missing.out.empty());
  CHECK(has(missing.err, "config.json"));
  const auto close = zoo_program("info bertt:tiny");
  CHECK(close.code == 1);
  CHECK(has(close.err, "nearest networks: bert"));
  const auto variant = zoo_program("info bert:tinny");
  CHECK(variant.code == 1);
  CHECK(has(variant.err, "nearest: tiny"));
}

TEST_CASE("with --json an error is one document on standard output too", "[cli]") {
  for (const char* arguments : {"info no/such/folder --json", "list --json --tsk x"}) {
    INFO(arguments);
    const auto outcome = zoo_program(arguments);
    const auto document = outcome.json();
    CHECK(document.at("exit_code") == outcome.code);
    CHECK(outcome.err == "zoo: error: " + document.at("error").get<std::string>() + "\n");
  }
}

TEST_CASE("the command line goes before the environment, the environment before the file", "[cli]") {
  const Scratch scratch;
  const auto config = scratch.write("options.json", R"({"task": "image_classification", "json": true})").string();
  const auto names = [](const Outcome& outcome) {
    std::vector<std::string> found;
    const auto document = outcome.json();
    for (const auto& network : document.at("networks")) found.push_back(network.at("name"));
    return found;
  };
  const auto has_name = [](const std::vector<std::string>& all, const std::string& name) {
    return std::find(all.begin(), all.end(), name) != all.end();
  };
  const auto from_file = names(zoo_program("list --config " + config));
  CHECK(has_name(from_file, "vit"));
  CHECK(!has_name(from_file, "bert"));
  const auto from_environment = names(zoo_program("list --config " + config, "ZOO_TASK=embedding"));
  CHECK(has_name(from_environment, "bert"));
  CHECK(!has_name(from_environment, "cct"));
  const auto from_line = names(zoo_program("list --config " + config + " --task fill_mask", "ZOO_TASK=image_classification"));
  CHECK(has_name(from_line, "bert"));
  CHECK(!has_name(from_line, "cct"));
  const auto file_from_environment = names(zoo_program("list", "ZOO_CONFIG=" + config));
  CHECK(file_from_environment == from_file);
  CHECK_FALSE(has(zoo_program("list --config " + config, "ZOO_JSON=0").out, "\"networks\""));
}

TEST_CASE("wrong values say where they came from", "[cli]") {
  const Scratch scratch;
  CHECK(has(zoo_program("list", "ZOO_THREADS=many").err, "ZOO_THREADS"));
  const auto typo = scratch.write("typo.json", R"({"thread": 2})").string();
  const auto outcome = zoo_program("list --config " + typo);
  CHECK(outcome.code == 2);
  CHECK(has(outcome.err, "unknown option 'thread'"));
  CHECK(has(outcome.err, "nearest: threads"));
  for (const char* text : {"[1, 2]", "{\"threads\": {}}", "{\"threads\": 1", ""}) {
    INFO(text);
    const auto wrong = zoo_program("list --config " + scratch.write("wrong.json", text).string());
    CHECK(wrong.code == 2);
    CHECK(has(wrong.err, "wrong.json"));
  }
  CHECK(zoo_program("list --config " + (scratch / "absent.json").string()).code == 2);
}

TEST_CASE("a reader that leaves early is no failure, a full disk is", "[cli]") {
  const Scratch scratch;
  const auto code_file = (scratch / "code").string();
  const std::string early = "sh -c '" ZOO_PROGRAM " list --json; echo $? > " + code_file + "' | head -c 1 > /dev/null";
  CHECK(std::system(early.c_str()) == 0);
  CHECK(file_text(code_file) == "0\n");
  const int full = std::system(ZOO_PROGRAM " list > /dev/full 2> /dev/null");
  CHECK(WEXITSTATUS(full) == 1);
}

TEST_CASE("completion scripts know verbs, options and networks", "[cli]") {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    INFO(shell);
    const auto script = zoo_program(std::string("completion ") + shell);
    CHECK(script.code == 0);
    CHECK(has(script.out, "convert"));
    CHECK(has(script.out, "max-shard-size"));
    CHECK(has(script.out, "bert:tiny"));
  }
  CHECK(zoo_program("completion tcsh").code == 2);
}

TEST_CASE("the bash completion completes", "[cli]") {
  const auto complete = [](const std::string& line, const std::string& words, int position) {
    const Scratch scratch;
    const std::string script = "source <(" ZOO_PROGRAM " completion bash); COMP_LINE='" + line + "'; COMP_POINT=" +
                               std::to_string(line.size()) + "; COMP_WORDS=(" + words + "); COMP_CWORD=" + std::to_string(position) +
                               "; _zoo; printf '%s\\n' \"${COMPREPLY[@]}\"";
    const auto file = scratch.write("script.sh", script);
    const auto out = scratch / "out";
    REQUIRE(std::system(("cd '" + scratch.path().string() + "' && bash script.sh > '" + out.string() + "'").c_str()) == 0);
    return file_text(out);
  };
  CHECK(complete("zoo con", "zoo con", 1) == "convert\n");
  CHECK(complete("zoo convert --max", "zoo convert --max", 2) == "--max-shard-size\n");
  CHECK(has(complete("zoo info ber", "zoo info ber", 2), "bert:large\n"));
  CHECK(complete("zoo info bert:lar", "zoo info bert : lar", 4) == "large\n");
}

}  // namespace zoo::test::frame
