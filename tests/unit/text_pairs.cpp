// Pairs of texts from files, and the lines of files that belong together.
#include "app/tasks/text_pairs.h"

#include <zlib.h>

#include "app/cli.h"
#include "app/tasks/text_scores.h"
#include "data/plain_lines.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace text_pairs_tests {
using zoo::Json;
using zoo::app::read_text_pairs;
using zoo::app::UsageError;
using zoo::data::read_lines;
using zoo::test::Scratch;
using Lines = std::vector<std::string>;

void write_gz(const std::filesystem::path& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
}

TEST_CASE("read_lines keeps empty lines, takes off ends and the byte order mark, unpacks gzip", "[text_pairs]") {
  const Scratch scratch;
  CHECK(read_lines(scratch.write("a", "\xEF\xBB\xBFone\r\n\n two\nlast")) == Lines{"one", "", " two", "last"});
  CHECK(read_lines(scratch / "a", 2) == Lines{"one", ""});
  CHECK(read_lines(scratch.write("b", "x\n\n")) == Lines{"x", ""});
  CHECK(read_lines(scratch.write("c", "")).empty());
  std::string many;
  for (int i = 0; i < 50000; ++i) many += std::to_string(i) + "\n";
  write_gz(scratch / "d.gz", many);
  CHECK(read_lines(scratch / "d.gz").size() == 50000);
  CHECK(read_lines(scratch / "d.gz").back() == "49999");
  const std::string packed = zoo::test::file_text(scratch / "d.gz");
  scratch.write("cut.gz", packed.substr(0, packed.size() / 2));
  CHECK_THROWS_AS(read_lines(scratch / "cut.gz"), std::runtime_error);
  CHECK_THROWS_AS(read_lines(scratch.write("nul", std::string("a\n\0b", 4))), std::runtime_error);
  CHECK_THROWS_AS(read_lines(scratch / "none"), std::runtime_error);
}

TEST_CASE("pairs: which file and column holds what", "[text_pairs]") {
  const Scratch scratch;
  const auto pairs = [&](const std::string& name, const Json& options = Json::object(), const std::string& split = "") {
    return read_text_pairs(scratch / name, split, options, 0);
  };
  scratch.write("t.tsv", "one\ttwo\nthree\tfour\n");
  CHECK(pairs("t.tsv").sources == Lines{"one", "three"});
  CHECK(pairs("t.tsv", {{"columns", "1,0"}}).sources == Lines{"two", "four"});
  scratch.write("h.csv", "id,Answer,Question\n1,a,q\n");
  CHECK(pairs("h.csv").sources == Lines{"q"});
  CHECK(pairs("h.csv", {{"columns", "id,Answer"}}).targets == Lines{"a"});
  CHECK_THROWS_AS(pairs("h.csv", {{"columns", "id"}}), UsageError);
  scratch.write("w.csv", "x,y,z\n1,2,3\n");
  CHECK_THROWS_AS(pairs("w.csv"), UsageError);
  std::filesystem::create_directories(scratch / "m");
  write_gz(scratch / "m/test_2016.de.gz", "eins\nzwei\n");
  write_gz(scratch / "m/test_2016.en.gz", "one\ntwo\n");
  CHECK(pairs("m", {{"columns", "de,en"}}).targets == Lines{"one", "two"});
  CHECK(pairs("m/test_2016.en.gz").targets == Lines{"eins", "zwei"});
  CHECK_THROWS_AS(pairs("m"), UsageError);
  CHECK_THROWS_AS(pairs("m", {{"columns", "de,en"}}, "train"), UsageError);
  CHECK_THROWS_AS(pairs("none"), UsageError);
  scratch.write("empty.tsv", "");
  CHECK_THROWS_AS(pairs("empty.tsv"), std::runtime_error);
  scratch.write("s", "a\n");
  scratch.write("u", "b\n");
  CHECK(pairs("s", {{"target", (scratch / "u").string()}}).targets == Lines{"b"});
  CHECK_THROWS_AS(pairs("s"), UsageError);
}

TEST_CASE("text metrics by name, with their options", "[text_pairs]") {
  using zoo::app::text_metrics;
  CHECK(text_metrics({{"metrics", "bleu, chrf"}}).names == Lines{"bleu", "chrf"});
  CHECK(text_metrics({{"metrics", {"rouge"}}, {"use_stemmer", true}}).use_stemmer);
  CHECK(text_metrics(Json::object()).names.empty());
  for (const Json& wrong : {Json{{"metrics", "bleu,"}}, Json{{"metrics", 3}}, Json{{"metrics", "bleu"}, {"tokenize", "zh"}}, Json{{"metrics", "bleu"}, {"use_stemmer", 1}}})
    CHECK_THROWS_AS(text_metrics(wrong), UsageError);
  const auto figures = zoo::app::text_figures(text_metrics({{"metrics", zoo::app::text_metric_names()}}), {"a b c d e"}, {{"a b c d e"}});
  for (const char* name : {"bleu", "codexglue_bleu", "chrf", "chrf++"}) CHECK(figures.at(name).get<double>() == Approx(100));
  for (const char* name : {"rouge1", "rougeLsum", "exact_match", "squad_exact_match", "codebleu_ngram"}) CHECK(figures.at(name).get<double>() == Approx(1));
}

}  // namespace text_pairs_tests
