// TensorBoard's event files: their bytes, and what Python's tensorboard reads in them.
#include "app/report/tensorboard.h"

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <set>

#include "tests/catch.h"
#include "tests/cli/program.h"

namespace zoo::test::tensorboard {
using app::EventWriter;
namespace fs = std::filesystem;

// The payloads of a file's records; every length and checksum is looked at.
std::vector<std::string> payloads(const std::string& file) {
  std::vector<std::string> result;
  for (size_t at = 0; at < file.size();) {
    uint64_t length = 0;
    std::memcpy(&length, file.data() + at, 8);
    REQUIRE(at + length + 16 <= file.size());
    result.push_back(file.substr(at + 12, length));
    REQUIRE(file.substr(at, length + 16) == app::tf_record(result.back()));
    at += length + 16;
  }
  return result;
}

TEST_CASE("CRC-32C gives the figures of RFC 3720", "[report]") {
  CHECK(app::crc32c("") == 0u);
  CHECK(app::crc32c("123456789") == 0xE3069283u);
  CHECK(app::crc32c(std::string(32, '\0')) == 0x8A9136AAu);
  CHECK(app::crc32c(std::string(32, '\xff')) == 0x62A8AB43u);
}

TEST_CASE("a record is framed as TFRecord frames it", "[report]") {
  // Made by tensorboard 2.21, summary/writer/record_writer.py, for the payload "zoo".
  const unsigned char expected[] = {0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xb0, 0x99, 0x49, 0x0e, 0x7a, 0x6f, 0x6f, 0xaa, 0x1e, 0x13, 0x35};
  CHECK(app::tf_record("zoo") == std::string(reinterpret_cast<const char*>(expected), sizeof expected));
}

TEST_CASE("an event file begins with its version and holds messages byte by byte", "[report]") {
  const Scratch scratch;
  EventWriter writer(scratch.path(), 7);
  writer.scalar("loss", 300, 0.5);
  writer.flush();
  const auto events = payloads(file_text(writer.path()));
  REQUIRE(events.size() == 3);
  CHECK(events[0].substr(9) == std::string("\x10\0\x1a\x0d", 4) + "brain.Event:2");
  CHECK(events[1].substr(9) == std::string("\x10\x07\x3a\x02\x08\x01"));
  CHECK(events[2].substr(9) == std::string("\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\0\x3f", 18));
  double wall = 0;
  REQUIRE(events[2][0] == 9);  // field 1, eight bytes
  std::memcpy(&wall, events[2].data() + 1, 8);
  CHECK(std::abs(wall - static_cast<double>(std::time(nullptr))) < 60);
}

TEST_CASE("every writer's file sorts behind those that are there", "[report]") {
  const Scratch scratch;
  std::vector<fs::path> paths;
  for (int i = 0; i < 4; ++i) paths.push_back(EventWriter(scratch.path()).path());
  CHECK(std::is_sorted(paths.begin(), paths.end()));
  CHECK(std::set<fs::path>(paths.begin(), paths.end()).size() == 4);
  scratch.write("events.out.tfevents.junk", "");
  CHECK(EventWriter(scratch.path()).path() > paths.back());
  scratch.write("file", "");
  CHECK_THROWS(EventWriter(scratch / "file"));
}

TEST_CASE("Python's tensorboard reads the files, and a resumed run is one clean curve", "[report]") {
  const char* python = std::getenv("ZOO_PYTHON");
  if (!python || !*python) {
    WARN("SKIPPED: ZOO_PYTHON names no Python that has tensorboard, so nothing but the bytes was checked");
    return;
  }
  const Scratch scratch;
  const auto folder = scratch / "events";
  {
    EventWriter writer(folder);
    writer.text("recipe", 0, "lr **1e-3**, \xC3\xA9");
    for (int step = 1; step <= 8; ++step) writer.scalar("train/loss", step, 1.0 / step);
    writer.scalars("validation", 8, Json{{"mse", 0.25}, {"naive", {{"last", 1.5}}}, {"name", "x"}});
    const std::vector<double> values = {0, 1, 2, 3, 30, std::nan("")};
    writer.histogram("weights", 3, values);
  }
  {  // killed in the middle of a record, after its checkpoint of step 5
    std::ofstream(EventWriter(folder, 9).path(), std::ios::binary | std::ios::app) << app::tf_record("half of it").substr(0, 15);
    EventWriter writer(folder, 6);
    for (int step = 6; step <= 10; ++step) writer.scalar("train/loss", step, 2.0 / step);
  }
  const auto out = scratch / "read.json";
  const std::string command = std::string("'") + python + "' '" ZOO_TEST_DIR "/reference/read_events.py' '" + folder.string() + "' > '" + out.string() + "'";
  REQUIRE(std::system(command.c_str()) == 0);
  const auto read = nlohmann::json::parse(file_text(out));
  CHECK(read.at("file_version") == 2);
  const auto& loss = read.at("scalars").at("train/loss");
  REQUIRE(loss.size() == 10);
  for (int step = 1; step <= 10; ++step) {
    CHECK(loss[step - 1][0] == step);
    CHECK(loss[step - 1][1] == static_cast<double>(static_cast<float>((step < 6 ? 1.0 : 2.0) / step)));
  }
  CHECK(read.at("texts").at("recipe/text_summary").at(0) == "lr **1e-3**, \xC3\xA9");
  CHECK(read.at("scalars").at("validation/mse").empty());  // of step 8, which the resumed run has yet to reach
  const auto& bars = read.at("histograms").at("weights").at(0);
  CHECK(bars.at("num") == 5);
  CHECK(bars.at("sum") == 36);
  CHECK(bars.at("squares") == 914);
  CHECK(bars.at("counts")[0] == 1);
  CHECK(bars.at("counts")[29] == 1);
  CHECK(bars.at("limits").back() == 30);
}

}  // namespace zoo::test::tensorboard
