// Program repair: bugs from two folders and from MultiMend's files, ranking and assembly of patches, the sandbox and the tests in it.

#include <fstream>
#include <sstream>

#include "app/cli.h"
#include "app/sandbox.h"
#include "app/tasks/python_tests.h"
#include "app/tasks/repair_bugs.h"
#include "app/tasks/repair_patches.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "tests/external.h"

namespace repair_tests {
using namespace zoo;
using namespace zoo::app;
namespace fs = std::filesystem;

using zoo::test::Scratch;

const char* const kGcd = "def gcd(a, b):\n    if b == 0:\n        return a\n    else:\n        return gcd(a % b, b)\n\n\n\"\"\"\nGreatest Common Divisor\n\"\"\"\n";
const char* const kGcdRight = "\ndef gcd(a, b):\n    # base\n    if b == 0:\n        return a\n    else:\n        return gcd(b, a % b)\n\n";

TEST_CASE("comments and doc strings go, lines keep their numbers", "[repair]") {
  CHECK(without_comments("x = '#' # c\n\"\"\"doc\nmore\"\"\"\ny = \"\"\"kept\n\"\"\"\n") == "x = '#' \n\n\ny = \"\"\"kept\n\"\"\"\n");
  CHECK(without_comments("a = 'it\\'s # in'\n") == "a = 'it\\'s # in'\n");
  CHECK(without_comments("broken = 'open\nb = 1 # c") == "broken = 'open\nb = 1 ");
}

TEST_CASE("two folders of programs give bugs with their functions", "[repair]") {
  const Scratch folder;
  folder.write("buggy/gcd.py", std::string("import math\n") + kGcd);
  folder.write("correct/gcd.py", std::string("import math\n") + kGcdRight);
  folder.write("buggy/same.py", "x = 1\n");
  folder.write("correct/same.py", "x = 1  # the same\n");
  folder.write("buggy/alone.py", "x = 1\n");
  const auto bugs = compare_programs(folder.path() / "buggy", folder.path() / "correct");
  REQUIRE(bugs.size() == 1);
  REQUIRE(bugs[0].hunks.size() == 1);
  const Hunk& hunk = bugs[0].hunks[0];
  CHECK(hunk.removed == "        return gcd(a % b, b)\n");
  CHECK(hunk.added == "        return gcd(b, a % b)\n");
  CHECK(hunk.start == 6);
  CHECK(hunk.length == 1);
  CHECK(hunk.context == "def gcd(a, b):\n    if b == 0:\n        return a\n    else:\n        return gcd(a % b, b)\n");
  CHECK(hunk.before == "import math\n");
  CHECK(repair_input("Python", hunk, {"import math"}) == "Python return gcd(a % b, b) : import math def gcd(a, b): if b == 0: return a else: return gcd(a % b, b)");
  CHECK(lines_to_search(hunk) == std::vector<std::string>{"import math", "Greatest Common Divisor"});
  CHECK_THROWS_WITH(compare_programs(folder.path() / "buggy", folder.path() / "nowhere"), ContainsSubstring("nowhere"));
}

TEST_CASE("MultiMend's metadata is read, and its mistakes are told", "[repair]") {
  const Scratch folder;
  const auto bugs = read_bugs(folder.write("bugs.jsonl", R"({"gcd": [{"removed_lines": "  return gcd(a % b, b)\n", "added_lines": "  return gcd(b, a % b)\n",)"
                                                          R"( "removed_line_numbers_range": [5, 1], "added_line_numbers_range": [6, 1], "source_context": ["def gcd", 1, 5],)"
                                                          R"( "source_before": "", "source_after": "x"}]})" "\n"));
  REQUIRE(bugs.size() == 1);
  CHECK(bugs[0].hunks[0].start == 5);
  CHECK(bugs[0].hunks[0].known);
  CHECK(bugs[0].hunks[0].context == "def gcd");
  CHECK_THROWS_WITH(read_bugs(folder.write("a.jsonl", "{\"x\": []}\n")), ContainsSubstring("hunks"));
  CHECK_THROWS_WITH(read_bugs(folder.write("b.jsonl", "{\"x\": [{\"removed_lines\": 3}]}\n")), ContainsSubstring("removed_lines"));
  CHECK_THROWS_WITH(read_bugs(folder.write("c.jsonl", "{\"x\": [{\"removed_lines\": \"\", \"removed_line_numbers_range\": [-1, 1]}]}\n")), ContainsSubstring("range"));
}

TEST_CASE("candidates: what changes nothing and repetitions go, removal is tried first", "[repair]") {
  Hunk hunk;
  hunk.removed = "  return  a\n";
  hunk.added = "  return b\n";
  hunk.known = true;
  const auto ranked = rank_candidates({{"return a", -0.1}, {" return c ", -0.2}, {"return  c", -0.3}, {"return b", -0.4}}, hunk);
  std::vector<std::string> patches;
  for (const auto& one : ranked) patches.push_back(one.patch);
  CHECK(patches == std::vector<std::string>{"", "return c", "return b"});
  CHECK(ranked[2].exact);
  CHECK_FALSE(ranked[1].exact);
  hunk.removed.clear();  // lines are only added: nothing to remove
  CHECK(rank_candidates({{"x", -1}}, hunk).size() == 1);
}

TEST_CASE("patches of several hunks: the texts that all have, by their ranks", "[repair]") {
  const auto list = [](std::vector<std::string> texts) {
    std::vector<Candidate> result;
    for (size_t i = 0; i < texts.size(); ++i) result.push_back({texts[i], texts[i], -0.1 * static_cast<double>(i + 1), static_cast<int64_t>(i)});
    return result;
  };
  const auto patches = assemble_patches({list({"a", "b", "c"}), list({"c", "b", "d"})});
  REQUIRE(patches.size() == 2);
  CHECK(patches[0].texts == std::vector<std::string>{"c", "c"});  // 2 + 0 as 1 + 1: the better score goes first
  CHECK(patches[0].rank == 2);
  CHECK(patches[1].texts == std::vector<std::string>{"b", "b"});
  Hunk first, second;
  first.start = 1, first.length = 1;
  second.start = 3, second.length = 0;
  CHECK(apply_patch("  one\ntwo\n  three\n    four\n", {first, second}, {"ONE", "new"}) == "  ONE\ntwo\n  three\n    new\n    four\n");
  CHECK(apply_patch("a\nb", {first}, {""}) == "b");
}

TEST_CASE("greedy assembly keeps what lets fewer tests fail", "[repair]") {
  const std::vector<std::vector<Candidate>> hunks{{{"x", "x"}, {"y", "y"}}, {{"z", "z"}}, {{"w", "w"}}};
  const auto failing = [](const std::vector<PartPatch>& parts) {
    int64_t left = 3;
    for (const auto& part : parts) left -= part.text == "y" ? 2 : part.text == "w" ? 1 : 0;
    return left;
  };
  const auto chosen = greedy_patches(hunks, failing, 10);
  REQUIRE(chosen.size() == 2);
  CHECK(chosen[0].text == "y");
  CHECK(chosen[1].hunk == 2);
}

bool has_python() { return std::system("python3 -c pass > /dev/null 2>&1") == 0; }

TEST_CASE("the sandbox limits time, memory, output and network", "[repair]") {
  const Scratch folder;
  SandboxLimits limits;
  limits.seconds = 2;
  CHECK(run_in_sandbox({"sh", "-c", "echo out; echo err >&2; exit 3"}, folder.path(), limits).exit_code == 3);
  CHECK(run_in_sandbox({"sh", "-c", "echo $HOME$SECRET; pwd"}, folder.path(), limits).out == folder.path().string() + "\n" + folder.path().string() + "\n");
  const auto late = run_in_sandbox({"sh", "-c", "sleep 30 & sleep 30"}, folder.path(), limits);
  CHECK(late.timed_out);
  limits.seconds = 20;
  CHECK_THROWS_WITH(run_in_sandbox({"no-such-program-here"}, folder.path(), limits), ContainsSubstring("no-such-program-here"));
  limits.file = 1000;
  CHECK(run_in_sandbox({"sh", "-c", "head -c 5000 /dev/zero > big; wc -c < big"}, folder.path(), limits).out.find("5000") == std::string::npos);
  NEEDS(has_python(), "Python");
  limits.memory = uint64_t{300} << 20;
  CHECK(run_in_sandbox({"python3", "-c", "x = bytearray(900 << 20)"}, folder.path(), limits).exit_code != 0);
  limits.file = 1 << 20;
  const auto net = run_in_sandbox({"python3", "-c", "import socket; s = socket.socket(); s.settimeout(2); print(s.connect_ex(('127.0.0.1', 9)), s.connect_ex(('8.8.8.8', 53)))"}, folder.path(), limits);
  if (net.network_cut) CHECK(net.out.find(" 0") == std::string::npos);  // unreachable
}

TEST_CASE("QuixBugs' tests tell right programs from wrong ones", "[repair]") {
  NEEDS(has_python(), "Python");
  const Scratch folder;
  folder.write("programs/gcd.py", kGcd);
  folder.write("programs/count.py", "def count(n):\n    for i in range(n):\n        yield (i, i)\n");
  folder.write("programs/walk.py", "def walk(n):\n    return n\n");
  folder.write("programs/walk_test.py", "from .walk import walk\n\ndef main():\n    print(walk(1))\n\nif __name__ == '__main__':\n    main()\n");
  folder.write("correct/walk.py", "def walk(n):\n    return n + 1\n");
  folder.write("correct/walk_test.py", "from .walk import walk\n\ndef main():\n    print(walk(1))\n\nif __name__ == '__main__':\n    main()\n");
  folder.write("cases/gcd.json", "[[17, 0], 17]\n[[13, 13], 13]\n[[37, 600], 1]\n");
  folder.write("cases/count.json", "[[2], [[0, 0], [1, 1]]]\n");
  PythonTestOptions options;
  options.case_seconds = 1;
  PythonTests tests(folder.path() / "programs", folder.path() / "cases", folder.path() / "correct", options);
  CHECK(tests.has("gcd"));
  CHECK(tests.has("walk"));
  CHECK_FALSE(tests.has("../gcd"));
  const auto wrong = tests.run("gcd", kGcd);  // recurses for ever on the last two cases
  CHECK(wrong.loads);
  CHECK(wrong.passed == 1);
  CHECK(wrong.failed == 2);
  CHECK(tests.run("gcd", kGcdRight).plausible());
  const auto broken = tests.run("gcd", "def gcd(a, b:\n");
  CHECK_FALSE(broken.loads);
  CHECK(broken.failed == 3);
  CHECK(tests.run("gcd", "def gcd(a, b):\n    while True: pass\n").timed_out);
  CHECK(tests.run("gcd", "import os\nos._exit(0)\n").failed == 3);
  CHECK(tests.run("count", "def count(n):\n    for i in range(n):\n        yield (i, i)\n").plausible());  // generators and tuples are lists
  CHECK_FALSE(tests.run("walk", "def walk(n):\n    return n\n").plausible());
  CHECK(tests.run("walk", "def walk(n):\n    return 1 + n\n").plausible());
}

// The real 40 programs: a hunk each, whose known repair passes the tests that the faulty program fails.
TEST_CASE("QuixBugs' known repairs are plausible, its bugs are not", "[quixbugs][.]") {
  const auto data = test::data_folder();
  NEEDS(data && fs::exists(*data / "code/quixbugs") && has_python(), "QuixBugs in ../shared/data (or $ZOO_DATA) and Python");
  const fs::path quixbugs = *data / "code/quixbugs";
  const auto bugs = compare_programs(quixbugs / "python_programs", quixbugs / "correct_python_programs");
  PythonTestOptions options;
  options.case_seconds = 3;
  options.limits.seconds = 60;
  PythonTests tests(quixbugs / "python_programs", quixbugs / "json_testcases", quixbugs / "correct_python_programs", options);
  int64_t tried = 0;
  std::vector<std::string> implausible, harmless;
  for (const Bug& bug : bugs) {
    INFO(bug.id);
    CHECK(bug.hunks.size() == 1);
    if (!tests.has(bug.id)) continue;
    ++tried;
    std::ifstream file(quixbugs / "python_programs" / (bug.id + ".py"));
    std::ostringstream text;
    text << file.rdbuf();
    std::vector<std::string> known;
    for (const Hunk& hunk : bug.hunks) known.push_back(single_blanks(hunk.added));
    if (!tests.run(bug.id, apply_patch(text.str(), bug.hunks, known)).plausible()) implausible.push_back(bug.id);
    if (tests.run(bug.id, text.str()).plausible()) harmless.push_back(bug.id);
  }
  CHECK(bugs.size() == 40);
  CHECK(tried == 40);
  // The correct knapsack and levenshtein too need more than these limits, and more than 20 seconds a case.
  CHECK(implausible == std::vector<std::string>{"knapsack", "levenshtein"});
  CHECK(harmless == std::vector<std::string>{});
}

}  // namespace repair_tests
