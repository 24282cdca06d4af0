#include "app/tasks/python_tests.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

#include "app/files.h"
#include "app/tasks/repair_bugs.h"
#include "models/model.h"

namespace zoo::app {
namespace python_tests_detail {
namespace fs = std::filesystem;

// Calls the function of the module's name with every case and compares what comes out, as JSON has it: generators, tuples and sets
// are lists, numbers may differ by a billionth, of sqrt by its own argument epsilon. Last line: cases passed, failed, out of time.
constexpr const char* kDriver = R"PY(
import importlib, json, math, signal, sys, types

name, file, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
sys.path.insert(0, ".")
sys.setrecursionlimit(3000)
cases = [json.loads(line) for line in open(file) if line.strip()]
try:
    call = getattr(importlib.import_module("programs." + name), name)
except BaseException as error:
    print("RESULT no", 0, len(cases), 0)
    sys.exit(0)


class Late(BaseException):
    pass


def late(*_):
    raise Late()


def plain(x):
    if isinstance(x, (list, tuple, set, frozenset, types.GeneratorType)):
        return [plain(y) for y in x]
    if isinstance(x, dict):
        return {str(k): plain(v) for k, v in x.items()}
    return x


def same(a, b, slack):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y, slack) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], slack) for k in a)
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None or isinstance(a, str) or isinstance(b, str):
        return a == b
    try:
        return a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=slack)
    except Exception:
        return False


passed = failed = slow = 0
signal.signal(signal.SIGALRM, late)
for arguments, wanted in cases:
    arguments = arguments if isinstance(arguments, list) else [arguments]
    slack = abs(arguments[-1]) if name == "sqrt" else 1e-9
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        right = same(plain(call(*json.loads(json.dumps(arguments)))), plain(wanted), slack)
    except Late:
        right, slow = False, slow + 1
    except BaseException:
        right = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    passed, failed = passed + right, failed + (not right)
print("\nRESULT yes", passed, failed, slow)
)PY";

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error(path.string() + ": cannot be written");
}

int64_t lines_in(const fs::path& path) {
  std::ifstream file(path);
  int64_t count = 0;
  for (std::string line; std::getline(file, line);) count += line.find_first_not_of(" \t\r") != std::string::npos;
  return count;
}

void copy_programs(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& item : fs::directory_iterator(from))
    if (item.path().extension() == ".py") write_file(to / item.path().filename(), program_text(item.path()));
  write_file(to / "__init__.py", "");
}

}  // namespace python_tests_detail

PythonTests::PythonTests(std::filesystem::path programs, std::filesystem::path cases, std::filesystem::path correct, PythonTestOptions options)
    : programs_(std::move(programs)), cases_(std::move(cases)), correct_(std::move(correct)), options_(std::move(options)) {
  namespace d = python_tests_detail;
  std::string name = (std::filesystem::temp_directory_path() / "zoo-tests-XXXXXX").string();
  if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary folder " + name);
  scratch_ = name;
  d::copy_programs(programs_, scratch_ / "programs");
  d::write_file(scratch_ / "driver.py", d::kDriver);
}

PythonTests::~PythonTests() {
  std::error_code error;
  remove_tree(scratch_, error);
}

bool PythonTests::has(const std::string& name) const {
  std::error_code error;
  const bool plain = name.find('/') == std::string::npos && !name.empty() && name.front() != '.';
  return plain && (std::filesystem::exists(cases_ / (name + ".json"), error) ||
                   (!correct_.empty() && std::filesystem::exists(correct_ / (name + "_test.py"), error) && std::filesystem::exists(programs_ / (name + "_test.py"), error)));
}

TestOutcome PythonTests::run(const std::string& name, const std::string& source) {
  namespace d = python_tests_detail;
  const auto place = scratch_ / "programs" / (name + ".py");
  const std::string before = program_text(place);
  d::write_file(place, source);
  std::error_code error;
  const TestOutcome outcome = std::filesystem::exists(cases_ / (name + ".json"), error) ? run_cases(name) : run_script(name);
  d::write_file(place, before);
  return outcome;
}

TestOutcome PythonTests::run_cases(const std::string& name) {
  const auto file = std::filesystem::absolute(cases_ / (name + ".json"));
  const auto result = run_in_sandbox({options_.python, "driver.py", name, file.string(), Json(options_.case_seconds).dump()}, scratch_, options_.limits);
  network_cut_ = network_cut_ && result.network_cut;
  TestOutcome outcome;
  const size_t last = result.out.rfind("RESULT ");
  std::istringstream words(last == std::string::npos ? "" : result.out.substr(last + 7));
  std::string loads;
  int64_t late = 0;
  if (words >> loads >> outcome.passed >> outcome.failed >> late) {
    outcome.loads = loads == "yes";
    outcome.timed_out = late > 0;
    return outcome;
  }
  outcome.failed = python_tests_detail::lines_in(file);  // it ended the driver, or ran out of time or memory
  outcome.passed = 0;
  outcome.loads = true;
  outcome.timed_out = result.timed_out;
  return outcome;
}

SandboxResult PythonTests::script(const std::filesystem::path& programs, const std::string& name) {
  const auto result = run_in_sandbox({options_.python, "-c", "import runpy, sys; sys.path.insert(0, '.'); runpy.run_module('" + programs.filename().string() + "." + name +
                                                                 "_test', run_name='__main__')"}, programs.parent_path(), options_.limits);
  network_cut_ = network_cut_ && result.network_cut;
  return result;
}

TestOutcome PythonTests::run_script(const std::string& name) {
  namespace d = python_tests_detail;
  if (!wanted_.count(name)) {
    d::copy_programs(correct_, scratch_ / "correct");
    d::write_file(scratch_ / "correct" / (name + "_test.py"), program_text(programs_ / (name + "_test.py")));  // theirs may differ
    const auto right = script(scratch_ / "correct", name);
    if (right.exit_code != 0) throw std::runtime_error("the test of the correct program " + name + " fails itself:\n" + right.out.substr(0, 500));
    wanted_[name] = right.out;
  }
  const auto result = script(scratch_ / "programs", name);
  TestOutcome outcome;
  outcome.loads = result.out.find("SyntaxError") == std::string::npos && result.out.find("IndentationError") == std::string::npos;
  outcome.timed_out = result.timed_out;
  const bool right = result.exit_code == 0 && result.out == wanted_[name];
  outcome.passed = right;
  outcome.failed = !right;
  return outcome;
}

}  // namespace zoo::app
