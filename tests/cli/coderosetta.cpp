// CodeRosetta's four stages on a toy corpus through the real program: masked words, tagged tokens, noise and back-translation,
// pairs. The loss falls in each, and each goes on from the one before.
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/safetensors.h"

namespace cli_coderosetta_tests {
using zoo::Json;
using zoo::test::file_text;
using zoo::test::Scratch;
using zoo::test::zoo_program;

const std::vector<std::string> kNames{"a", "b", "x", "y", "sum", "out"};

// One small function in C++ and in CUDA, and the tags of the former's tokens (the reference makes them by tree-sitter).
struct Sample {
  std::string cpp, cuda, tagged;
};

Sample sample(size_t i) {
  const std::string &name = kNames[i % 6], &other = kNames[(i / 6 + 1 + i) % 6];
  Sample s;
  s.cpp = "void add ( float * " + name + " , float " + other + " ) { for ( int i = 0 ; i < n ; i ++ ) " + name + " [ i ] += " + other + " ; }";
  s.cuda = "__global__ void add ( float * " + name + " , float " + other + " ) { int i = threadIdx . x ; if ( i < n ) " + name + " [ i ] += " + other + " ; }";
  const std::set<std::string> types{"float", "int", "void"}, variables{name, other, "i", "n"};
  std::istringstream words(s.cpp);
  for (std::string word; words >> word;)
    s.tagged += word + "\t" + (types.count(word) ? "B-PRIM" : variables.count(word) ? "B-VAR" : word == "add" ? "B-FUNC" : "O") + "\n";
  return s;
}

struct Corpus : Scratch {
  Corpus() {
    std::string cpp, cuda, tags, pairs, all = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n<CPP>\n<CUDA>\n";
    std::set<std::string> words;
    for (size_t i = 0; i < 24; ++i) {
      const Sample s = sample(i);
      cpp += s.cpp + "\n", cuda += s.cuda + "\n", tags += s.tagged + "\n", pairs += s.cpp + "\t" + s.cuda + "\n";
      std::istringstream text(s.cpp + " + _ global " + s.cuda);
      for (std::string word; text >> word;) words.insert(word);
    }
    for (const auto& word : words) all += word + "\n";
    write("mlm/train.txt", cpp + cuda);
    write("aer/train.conll", tags);
    write("mono/train.cpp", cpp);
    write("mono/train.cuda", cuda);
    write("pairs/train.tsv", pairs);
    write("start/vocab.txt", all);
    write("start/tokenizer_config.json", R"({"tokenizer_class":"BertTokenizer","do_lower_case":false,"model_max_length":64})");
    const auto lines = std::count(all.begin(), all.end(), '\n');
    const Json config = {{"architectures", {"BertForMaskedLM"}}, {"model_type", "bert"}, {"vocab_size", lines}, {"hidden_size", 48},
                         {"num_hidden_layers", 2}, {"num_attention_heads", 4}, {"intermediate_size", 96}, {"max_position_embeddings", 64},
                         {"hidden_dropout_prob", 0.0}, {"attention_probs_dropout_prob", 0.0}};
    write("start/config.json", config.dump());
    at::manual_seed(5);
    const auto model = zoo::make_from_config(config);
    model->init_weights();
    zoo::weights::NamedTensors tensors;
    std::set<const void*> seen;
    for (const auto& item : model->named_parameters())
      if (seen.insert(item.value().data_ptr()).second) tensors.emplace_back(item.key(), item.value().detach());
    zoo::weights::save_safetensors(path() / "start/model.safetensors", tensors);
  }
  std::string at(const std::string& name) const { return "'" + (path() / name).string() + "'"; }

  // Trains and returns the losses of the log's steps.
  std::vector<double> train(const std::string& task, const std::string& from, const std::string& data, const std::string& out, const std::string& more) const {
    const auto outcome = zoo_program("train --task " + task + " --model " + at(from) + " --data " + at(data) + " --out " + at(out) +
                                     " --batch-size 8 --lr 2e-3 --seed 1 --log-level error " + more);
    INFO(task << ": " << outcome.err);
    REQUIRE(outcome.code == 0);
    std::istringstream log(file_text(path() / out / "log.jsonl"));
    std::vector<double> losses;
    for (std::string line; std::getline(log, line);) {
      const Json entry = Json::parse(line);
      if (entry.contains("step") && entry.contains("loss") && !entry.contains("validation")) losses.push_back(entry.at("loss").get<double>());
    }
    REQUIRE(losses.size() > 8);
    return losses;
  }
};

void check_falls(const std::vector<double>& losses, double to) {
  double first = 0, last = 0;
  for (size_t i = 0; i < 4; ++i) first += losses[i] / 4, last += losses[losses.size() - 1 - i] / 4;
  CHECK(last < to * first);
}

TEST_CASE("CodeRosetta's four stages: the loss falls in each", "[cli][coderosetta]") {
  const Corpus corpus;
  check_falls(corpus.train("fill_mask", "start", "mlm", "s1", "--epochs 10 --set options.whole_words=true"), 0.8);
  check_falls(corpus.train("token_classification", "s1", "aer", "s2", "--epochs 8"), 0.5);
  const auto assembled = zoo_program("convert " + corpus.at("s2") + " " + corpus.at("start3") + " --assemble --json");
  INFO(assembled.err);
  REQUIRE(assembled.code == 0);
  const Json report = assembled.json();
  CHECK(report.at("loaded").get<int>() > 60);
  bool crossed = false;
  for (const auto& key : report.at("fresh")) crossed = crossed || key.get<std::string>().find("crossattention.self.query") != std::string::npos;
  CHECK(crossed);
  const std::string langs = "--set options.langs=cpp,cuda --set options.shuffle=false ";
  check_falls(corpus.train("denoise", "start3", "mono", "s3a", langs + "--epochs 12"), 0.5);
  check_falls(corpus.train("denoise", "s3a", "mono", "s3b", langs + "--set options.back_translation=0.5 --epochs 6"), 1.0);
  check_falls(corpus.train("seq2seq", "s3b", "pairs", "s4", "--epochs 30"), 0.5);
  const auto evaluated = zoo_program("eval " + corpus.at("s4") + " --task seq2seq --data " + corpus.at("pairs/train.tsv") + " --metrics bleu --json --log-level error");
  INFO(evaluated.err);
  REQUIRE(evaluated.code == 0);
  CHECK(evaluated.json().at("metrics").at("token_accuracy").get<double>() > 0.9);
  CHECK(evaluated.json().at("metrics").at("bleu").get<double>() > 20);  // the toy tokenizer parts "+=" and "__global__"
}

TEST_CASE("denoising says what it lacks", "[cli][coderosetta]") {
  const Corpus corpus;
  REQUIRE(zoo_program("convert " + corpus.at("start") + " " + corpus.at("whole") + " --assemble").code == 0);
  const std::string train = "train --task denoise --model " + corpus.at("whole") + " --out " + corpus.at("never") + " --data ";
  const auto fails = [&](const std::string& arguments, const std::string& part) {
    const auto outcome = zoo_program(train + arguments);
    CHECK(outcome.code == 2);
    CHECK_THAT(outcome.err, ContainsSubstring(part));
  };
  fails(corpus.at("mono"), "langs");
  fails(corpus.at("mono") + " --set options.langs=cpp,fortran", "train.fortran");
  fails(corpus.at("mono") + " --set options.langs=cpp,cuda --set 'options.start_tokens=<C>,<CUDA>'", "<C>");
  fails(corpus.at("pairs") + " --set options.langs=cpp,cuda", "train.cpp");
  fails(corpus.at("mono") + " --set options.langs=cpp,cuda --set options.drop=2", "drop");
  fails(corpus.at("mono") + " --set options.langs=cpp,cuda --set options.back_translation=3", "back_translation");
  const auto wrong = zoo_program("convert " + corpus.at("whole") + " " + corpus.at("twice") + " --assemble");
  CHECK(wrong.code != 0);
  CHECK_THAT(wrong.err, ContainsSubstring("encoder_decoder"));
}

}  // namespace cli_coderosetta_tests
