// Sentences through the real program: embedding, similarity, linkage and eval on a small checkpoint made here, and on
// all-MiniLM-L6-v2 where it is found.
#include <ATen/ATen.h>

#include <cmath>
#include <iostream>

#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "tests/external.h"
#include "weights/fill.h"
#include "weights/npy.h"
#include "weights/safetensors.h"

namespace cli_sentences_tests {
using zoo::Json;
using zoo::test::file_text;
using zoo::test::has;
using zoo::test::Scratch;
using zoo::test::zoo_program;

const Json& reference() {
  static const Json json = Json::parse(file_text(ZOO_TEST_DIR "/fixtures/files/sentence_encoder.json"));
  return json;
}

// A sentence-transformers folder (pooling: mean, normalised) with a network filled by the rule.
struct Checkpoint : Scratch {
  Checkpoint() {
    write("net/config.json", reference().at("config").dump());
    std::string vocabulary;
    for (const auto& token : reference().at("vocabulary")) vocabulary += token.get<std::string>() + "\n";
    write("net/vocab.txt", vocabulary);
    for (const auto& [name, content] : reference().at("folders")[0].at("files").items()) write("net/" + name, content.dump());
    const auto model = zoo::make_from_config(reference().at("config"));
    zoo::weights::fill_module(*model, reference().at("seed").get<int64_t>());
    zoo::weights::NamedTensors tensors;
    for (const auto& item : model->named_parameters()) tensors.emplace_back(item.key(), item.value().detach());
    zoo::weights::save_safetensors(path() / "net/model.safetensors", tensors);
  }
  std::string net() const { return "'" + (path() / "net").string() + "'"; }
  std::string at(const std::string& name) const { return "'" + (path() / name).string() + "'"; }
};

TEST_CASE("zoo run --task embedding prints vectors as JSON", "[cli][sentences]") {
  const Checkpoint checkpoint;
  const auto outcome = zoo_program("run " + checkpoint.net() + " --task embedding --input 'the cat sat on the house .' --json");
  REQUIRE(outcome.code == 0);
  const auto document = outcome.json();
  CHECK(document.at("dimension") == 16);
  const auto& expected = reference().at("folders")[0].at("vectors")[0];
  REQUIRE(document.at("embeddings").size() == 1);
  for (size_t i = 0; i < 16; ++i)
    CHECK(document.at("embeddings")[0][i].get<double>() == Approx(expected[i].get<double>()).margin(2e-6));
  CHECK(document.at("inputs")[0].at("text") == "the cat sat on the house .");
}

TEST_CASE("zoo run --task embedding writes npy, csv and json, and nothing over an old file", "[cli][sentences]") {
  const Checkpoint checkpoint;
  checkpoint.write("lines.txt", "a dog\n\nthe cat\na dog\n");
  const std::string run = "run " + checkpoint.net() + " --task embedding " + checkpoint.at("lines.txt") + " --out ";
  REQUIRE(zoo_program(run + checkpoint.at("v.npy")).code == 0);
  const auto vectors = zoo::weights::load_npy(checkpoint / "v.npy");
  CHECK(vectors.sizes() == at::IntArrayRef({3, 16}));
  CHECK(at::equal(vectors[0], vectors[2]));
  REQUIRE(zoo_program(run + checkpoint.at("v.csv")).code == 0);
  CHECK(has(file_text(checkpoint / "v.csv"), "text,d0,d1,"));
  REQUIRE(zoo_program(run + checkpoint.at("v.json")).code == 0);
  CHECK(Json::parse(file_text(checkpoint / "v.json")).at("embeddings").size() == 3);
  const std::string before = file_text(checkpoint / "v.npy");
  const auto again = zoo_program(run + checkpoint.at("v.npy"));
  CHECK(again.code == 2);
  CHECK(has(again.err, "--overwrite"));
  CHECK(file_text(checkpoint / "v.npy") == before);
  CHECK(zoo_program(run + checkpoint.at("v.npy") + " --overwrite").code == 0);
  CHECK(zoo_program(run + checkpoint.at("v.xyz")).code == 2);
  CHECK(zoo_program("run " + checkpoint.net() + " --task embedding --input " + checkpoint.at("lines.txt") + " --json").json().at("embeddings").size() == 3);
  CHECK(has(zoo_program("run " + checkpoint.net() + " --task embedding --input lines.csv").err, "no such file"));
  CHECK(zoo_program("run " + checkpoint.net() + " --task embedding - --json", "printf 'a dog\\nthe cat\\n' |").json().at("embeddings").size() == 2);
}

TEST_CASE("zoo run --task similarity compares two sentences or a table of pairs", "[cli][sentences]") {
  const Checkpoint checkpoint;
  const std::string run = "run " + checkpoint.net() + " --task similarity ";
  const auto same = zoo_program(run + "--input 'a dog' --pair 'A dog' --json");
  REQUIRE(same.code == 0);
  CHECK(same.json().at("pairs")[0].at("cosine").get<double>() == Approx(1.0).margin(1e-6));
  checkpoint.write("pairs.csv", "sentence1,sentence2\na dog,the cat\n\"the big, old dog\",a dog\n");
  const auto table = zoo_program(run + checkpoint.at("pairs.csv") + " --format csv");
  REQUIRE(table.code == 0);
  CHECK(has(table.out, "sentence1,sentence2,cosine\n"));
  CHECK(has(table.out, "\"the big, old dog\",a dog,"));
  CHECK(zoo_program(run + "--input 'a dog'").code == 2);
}

TEST_CASE("zoo eval --task similarity: header or none, csv, tsv and jsonl agree", "[cli][sentences]") {
  const Checkpoint checkpoint;
  const std::string rows = "a dog,the cat,1\nthe big dog,a big dog,4.5\nthe river,the house,2\na cat walked,the cat walks,5\n";
  std::string tabs = rows;
  std::replace(tabs.begin(), tabs.end(), ',', '\t');
  checkpoint.write("bare.csv", rows);
  checkpoint.write("named.csv", "id,similarity_score,sentence2,sentence1\n1,1,the cat,a dog\n2,4.5,a big dog,the big dog\n"
                                "3,2,the house,the river\n4,5,the cat walks,a cat walked\n");
  checkpoint.write("named.tsv", "left\tright\tscore\n" + tabs);
  checkpoint.write("lines.jsonl", "{\"sentence1\": \"a dog\", \"sentence2\": \"the cat\", \"score\": 1}\n"
                                  "{\"sentence1\": \"the big dog\", \"sentence2\": \"a big dog\", \"score\": 4.5}\n"
                                  "{\"sentence1\": \"the river\", \"sentence2\": \"the house\", \"score\": 2}\n"
                                  "{\"sentence1\": \"a cat walked\", \"sentence2\": \"the cat walks\", \"score\": 5}\n");
  const std::string eval = "eval " + checkpoint.net() + " --task similarity --json --data ";
  const auto first = zoo_program(eval + checkpoint.at("bare.csv"));
  REQUIRE(first.code == 0);
  const auto metrics = first.json().at("metrics");
  CHECK(first.json().at("samples") == 4);
  CHECK(std::abs(metrics.at("spearman").get<double>()) <= 1.0);
  for (const char* arguments : {"named.csv", "named.tsv", "lines.jsonl"}) {
    INFO(arguments);
    const auto other = zoo_program(eval + checkpoint.at(arguments));
    REQUIRE(other.code == 0);
    CHECK(other.json().at("metrics").at("spearman").get<double>() == Approx(metrics.at("spearman").get<double>()));
    CHECK(other.json().at("metrics").at("pearson").get<double>() == Approx(metrics.at("pearson").get<double>()).epsilon(1e-5));
  }
  CHECK(zoo_program(eval + checkpoint.at("bare.csv") + " --batch-size 1").json().at("metrics").at("pearson").get<double>() ==
        Approx(metrics.at("pearson").get<double>()).epsilon(1e-5));
  CHECK(zoo_program(eval + checkpoint.at("bare.csv") + " --limit 3").json().at("samples") == 3);
  const auto wrong = zoo_program(eval + checkpoint.at("named.tsv") + " --columns left,rigth,score");
  CHECK(wrong.code == 2);
  CHECK(has(wrong.err, "no column 'rigth'; nearest: right"));
  REQUIRE(zoo_program(eval + checkpoint.at("bare.csv") + " --out " + checkpoint.at("figures.json")).code == 0);
  CHECK(Json::parse(file_text(checkpoint / "figures.json")).at("metrics").contains("pearson"));
}

TEST_CASE("zoo eval says what is wrong with data, task and options", "[cli][sentences]") {
  const Checkpoint checkpoint;
  checkpoint.write("empty.csv", "");
  checkpoint.write("binary.csv", std::string("a\0b,c,1\n", 8));
  checkpoint.write("ragged.csv", "a,b,1\na,b,1,2\n");
  checkpoint.write("words.csv", "a,b,1\na,b,much\n");
  checkpoint.write("good.csv", "a,b,1\nb,c,2\n");
  const std::string eval = "eval " + checkpoint.net() + " --task similarity --data ";
  const auto fails = [&](const std::string& arguments, int code, const std::string& message) {
    INFO(arguments);
    const auto outcome = zoo_program(arguments);
    CHECK(outcome.code == code);
    INFO(outcome.err);
    CHECK(has(outcome.err, message));
    CHECK(outcome.out.empty());
  };
  fails(eval + checkpoint.at("empty.csv"), 1, "empty");
  fails(eval + checkpoint.at("binary.csv"), 1, "binary");
  fails(eval + checkpoint.at("ragged.csv"), 1, "ragged.csv:2: 4 fields; the first record has 3");
  fails(eval + checkpoint.at("words.csv"), 1, "words.csv:2: score 'much' is not a number");
  fails(eval + checkpoint.at("none.csv"), 2, "no such file");
  fails(eval + checkpoint.at("good.csv") + " --option novalue", 2, "key=value");
  fails(eval + checkpoint.at("good.csv") + " --option pooling=men", 2, "nearest: mean");
  fails(eval + checkpoint.at("good.csv") + " --max-length 4000", 2, "max_length is 4000");
  fails("eval " + checkpoint.net() + " --task similarty --data " + checkpoint.at("good.csv"), 2, "nearest: similarity");
}

struct Tables : Checkpoint {
  Tables() {
    write("left.csv", "id,name,kind\n1,the old dog,x\n2,\"river, house\",y\n3,a small cat,x\n");
    write("right.csv", "id,title,kind\n3,a small cat,y\n1,the old dogs,x\n2,\"river , house\",y\n9,talking and walking,x\n");
  }
  std::string link() const {
    return "run " + net() + " --task linkage --left " + at("left.csv") + " --right " + at("right.csv") + " --left-on name --right-on title ";
  }
};

TEST_CASE("zoo run --task linkage joins two tables", "[cli][sentences][linkage]") {
  const Tables tables;
  const auto outcome = zoo_program(tables.link() + "--truth id --json --out " + tables.at("matched.csv"));
  REQUIRE(outcome.code == 0);
  const auto document = outcome.json();
  CHECK(document.at("rows_left") == 3);
  CHECK(document.at("rows_right") == 4);
  CHECK(document.at("matched") == 3);
  CHECK(document.at("accuracy").get<double>() == 1.0);
  const std::string text = file_text(tables / "matched.csv");
  CHECK(has(text, "id_x,name,kind_x,id_y,title,kind_y,score\n1,the old dog,x,1,the old dogs,x,0."));
  CHECK(has(text, "2,\"river, house\",y,2,\"river , house\",y,"));
  CHECK(has(text, "3,a small cat,x,3,a small cat,y,1.000000"));
}

TEST_CASE("zoo run --task linkage: blocks, top-k, threshold, unmatched rows", "[cli][sentences][linkage]") {
  const Tables tables;
  const auto blocked = zoo_program(tables.link() + "--block kind --truth id --json");
  REQUIRE(blocked.code == 0);
  CHECK(blocked.json().at("correct") == 2);  // the cat's true partner is of another kind
  CHECK(blocked.json().at("matched") == 3);
  const auto two = zoo_program(tables.link() + "--top-k 2 --json");
  CHECK(two.json().at("rows_out") == 6);
  const auto strict = zoo_program(tables.link() + "--threshold 0.99999 --json --option unmatched=keep --out " + tables.at("m.csv"));
  CHECK(strict.json().at("rows_out") == 3);
  CHECK(strict.json().at("matched").get<int>() < 3);
  CHECK(has(file_text(tables / "m.csv"), "1,the old dog,x,,,,\n"));
  const auto columns = zoo_program(tables.link() + "--left-on kind,name --right-on kind,title --json");
  CHECK(columns.code == 2);  // --left-on twice
}

TEST_CASE("zoo run --task linkage finds duplicates and clusters in one table", "[cli][sentences][linkage]") {
  const Tables tables;
  tables.write("one.csv", "name\na dog\nthe river house\nA dog\na dog\n");
  const std::string run = "run " + tables.net() + " --task linkage --left " + tables.at("one.csv") + " --left-on name ";
  REQUIRE(zoo_program(run + "--dedupe --threshold 0.9999 --out " + tables.at("unique.csv")).code == 0);
  CHECK(file_text(tables / "unique.csv") == "name,cluster\na dog,0\nthe river house,1\n");
  for (const char* method : {"connected", "average", "complete", "ward"}) {
    const auto outcome = zoo_program(run + "--cluster --threshold 0.9999 --json --cluster-method " + method);
    REQUIRE(outcome.code == 0);
    CHECK(outcome.json().at("labels") == nlohmann::json({0, 1, 0, 0}));
  }
  CHECK(zoo_program(run + "--cluster --cluster-method avrage").code == 2);
  CHECK(zoo_program(run + "--cluster --dedupe").code == 2);
}

TEST_CASE("zoo run --task linkage names unknown columns and keeps old files", "[cli][sentences][linkage]") {
  const Tables tables;
  const std::string run = "run " + tables.net() + " --task linkage --left " + tables.at("left.csv") + " --right " + tables.at("right.csv");
  const auto wrong = zoo_program(run + " --left-on nam --right-on title");
  CHECK(wrong.code == 2);
  CHECK(has(wrong.err, "no column 'nam'; nearest: name"));
  CHECK(zoo_program(run).code == 2);
  CHECK(zoo_program(run + " --left-on name").code == 2);  // the right table has no such column
  tables.write("old.csv", "precious\n");
  CHECK(zoo_program(tables.link() + "--out " + tables.at("old.csv")).code == 2);
  CHECK(file_text(tables / "old.csv") == "precious\n");
}

TEST_CASE("zoo train --task similarity learns pairs and leaves a sentence-transformers folder", "[cli][sentences]") {
  const Checkpoint checkpoint;
  const std::string rows = "a dog,the cat,0\nthe big dog,a big dog,5\nthe river,the house,0\na cat walked,the cat walks,5\n"
                           "old house,the river,0\nsmall dog,a small dog,5\nbig cat,talking,0\nthe old river,old river,5\n";
  for (const char* split : {"train", "test"}) checkpoint.write(std::string("pairs/") + split + ".csv", rows);
  const std::string eval = " --task similarity --json --data " + checkpoint.at("pairs/test.csv");
  const auto before = zoo_program("eval " + checkpoint.net() + eval);
  REQUIRE(before.code == 0);
  for (const char* loss : {"cosine", "multiple_negatives", "supervised_contrastive", "online_contrastive"}) {
    INFO(loss);
    const std::string out = checkpoint.at(loss);
    const auto trained = zoo_program("train --model " + checkpoint.net() + " --task similarity --data " + checkpoint.at("pairs") +
                                     " --epochs 15 --batch-size 4 --lr 3e-3 --seed 1 --json --set options.loss=" + loss + " --out " + out);
    INFO(trained.err);
    REQUIRE(trained.code == 0);
    const auto after = zoo_program("eval " + out + eval);
    REQUIRE(after.code == 0);
    CHECK(after.json().at("metrics").at("spearman").get<double>() > before.json().at("metrics").at("spearman").get<double>());
    CHECK(after.json().at("metrics").at("spearman") == trained.json().at("metrics").at("spearman"));
    for (const char* file : {"modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "vocab.txt"})
      CHECK(file_text(checkpoint / (std::string("net/") + file)) == file_text(checkpoint / (std::string(loss) + "/" + file)));
  }
  const auto wrong = zoo_program("train --model " + checkpoint.net() + " --task similarity --data " + checkpoint.at("pairs") +
                                 " --set options.loss=cosin --out " + checkpoint.at("none"));
  CHECK(wrong.code == 2);
  CHECK(has(wrong.err, "nearest: cosine"));
  CHECK_FALSE(std::filesystem::exists(checkpoint / "none"));
}

TEST_CASE("all-MiniLM-L6-v2 reaches its published figure on STS-B", "[cli][sentences][real]") {
  const auto folder = zoo::test::minilm_folder(), data = zoo::test::data_folder();
  if (!folder || !data || !std::filesystem::exists(*data / "text/sts_b/test.csv")) {
    std::cerr << "SKIPPED: STS-B with all-MiniLM-L6-v2: set ZOO_MINILM and ZOO_DATA to folders that hold them\n";
    return;
  }
  const auto outcome = zoo_program("eval '" + folder->string() + "' --task similarity --data '" + (*data / "text/sts_b/test.csv").string() + "' --json");
  REQUIRE(outcome.code == 0);
  const auto document = outcome.json();
  CHECK(document.at("samples") == 1379);
  CHECK(document.at("metrics").at("spearman").get<double>() == Approx(0.82032).margin(1e-4));
  const auto embedded = zoo_program("run '" + folder->string() + "' --task embedding --input 'A girl is styling her hair.' --json").json();
  const double known[] = {-0.0012180, -0.0062785, 0.0128859, -0.0205644};
  for (size_t i = 0; i < 4; ++i) CHECK(embedded.at("embeddings")[0][i].get<double>() == Approx(known[i]).margin(1e-6));
}

}  // namespace cli_sentences_tests
