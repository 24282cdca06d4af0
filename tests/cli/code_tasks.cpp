// Clone detection through the real program: CodeT5's detector from a T5 folder, zecoler's prompts from a RoBERTa folder, and a
// detector's pytorch-style names; question answering from BERT.
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/checkpoint.h"
#include "weights/safetensors.h"

namespace cli_code_tasks_tests {
using zoo::Json;
using zoo::test::file_text;
using zoo::test::Scratch;
using zoo::test::zoo_program;

// Codes in pairs: 1 where both add.
struct Codes : Scratch {
  Codes() {
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nNo\nYes\n";
    for (const char* word : {"int", "float", "a", "b", "c", "x", "y", "=", "+", "-", "*", ";", "return", "(", ")", "who", "?", "is", "the"}) vocabulary += std::string(word) + "\n";
    const std::vector<std::string> names{"a", "b", "c", "x", "y"};
    std::string functions, pairs;
    for (size_t i = 0; i < 20; ++i) {
      const std::string& name = names[i % 5];
      const char* sign = i % 2 ? "+" : "*";
      functions += Json({{"idx", std::to_string(i)}, {"func", "int " + name + " = " + name + " " + sign + " " + name + " ;\nreturn " + name + " ;"}}).dump() + "\n";
    }
    for (size_t i = 0; i < 20; ++i)
      for (const size_t j : {i + 2, i + 3}) pairs += std::to_string(i) + "\t" + std::to_string(j % 20) + "\t" + (i % 2 && j % 2 ? "1" : "0") + "\n";
    write("clones/data.jsonl", functions);
    write("clones/train.txt", pairs);
    for (const char* folder : {"t5", "roberta", "bert"}) {
      write(std::string(folder) + "/vocab.txt", vocabulary);
      write(std::string(folder) + "/tokenizer_config.json", R"({"tokenizer_class":"BertTokenizer","do_lower_case":false,"model_max_length":60})");
    }
    save("t5", {{"architectures", {"T5ForConditionalGeneration"}}, {"model_type", "t5"}, {"vocab_size", 26}, {"d_model", 32}, {"d_kv", 8}, {"d_ff", 64}, {"num_layers", 2},
                {"num_heads", 4}, {"pad_token_id", 0}, {"eos_token_id", 3}, {"decoder_start_token_id", 0}, {"dropout_rate", 0.0}});
    save("roberta", {{"architectures", {"RobertaForMaskedLM"}}, {"model_type", "roberta"}, {"vocab_size", 26}, {"hidden_size", 32}, {"num_hidden_layers", 2}, {"num_attention_heads", 4},
                     {"intermediate_size", 64}, {"max_position_embeddings", 66}, {"type_vocab_size", 1}, {"pad_token_id", 0}});
    save("bert", {{"architectures", {"BertForMaskedLM"}}, {"model_type", "bert"}, {"vocab_size", 26}, {"hidden_size", 32}, {"num_hidden_layers", 2}, {"num_attention_heads", 4},
                  {"intermediate_size", 64}, {"max_position_embeddings", 64}, {"hidden_dropout_prob", 0.0}, {"attention_probs_dropout_prob", 0.0}});
  }
  void save(const std::string& folder, const Json& config) {
    write(folder + "/config.json", config.dump());
    at::manual_seed(4);
    const auto model = zoo::make_from_config(config);
    model->init_weights();
    zoo::weights::NamedTensors tensors;
    std::set<const void*> seen;
    for (const auto& item : model->named_parameters())
      if (seen.insert(item.value().data_ptr()).second) tensors.emplace_back(item.key(), item.value().detach());
    zoo::weights::save_safetensors(path() / folder / "model.safetensors", tensors);
  }
  std::string at(const std::string& name) const { return "'" + (path() / name).string() + "'"; }
  void train(const std::string& task, const std::string& from, const std::string& data, const std::string& out, const std::string& more) const {
    const auto outcome = zoo_program("train --task " + task + " --model " + at(from) + " --data " + at(data) + " --out " + at(out) + " --seed 1 --log-level error " + more);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
  }
  Json evaluate(const std::string& task, const std::string& model, const std::string& data) const {
    const auto outcome = zoo_program("eval " + at(model) + " --task " + task + " --data " + at(data) + " --json --log-level error");
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return outcome.json().at("metrics");
  }
};

TEST_CASE("CodeT5's clone detector is trained from a T5 folder", "[cli][code_tasks]") {
  const Codes codes;
  codes.train("text_classification", "t5", "clones", "out", "--epochs 10 --batch-size 8 --lr 3e-3 --set 'config.architectures=[\"CloneModel\"]'");
  CHECK(Json::parse(file_text(codes.path() / "out/config.json")).at("architectures")[0] == "CloneModel");
  const auto checkpoint = zoo::weights::Checkpoint::open(codes.path() / "out");
  std::set<std::string> keys;
  for (const auto& info : checkpoint.tensors()) keys.insert(info.name);
  CHECK(keys.count("encoder.encoder.block.0.layer.0.SelfAttention.q.weight"));
  CHECK(keys.count("classifier.out_proj.weight"));
  CHECK(codes.evaluate("text_classification", "out", "clones/train.txt").at("accuracy").get<double>() > 0.8);
  const auto one = zoo_program("run " + codes.at("out") + " --input 'int a = a + a ;' --pair 'int b = b + b ;' --json --log-level error");
  INFO(one.err);
  REQUIRE(one.code == 0);
  CHECK(one.json().at("predictions")[0].at("probabilities").size() == 2);
  const auto alone = zoo_program("run " + codes.at("out") + " --input 'int a ;'");
  CHECK(alone.code == 2);
  CHECK_THAT(alone.err, ContainsSubstring("--pair"));
}

TEST_CASE("zecoler's prompts are trained, the RoBERTa beneath stays as it was", "[cli][code_tasks]") {
  const Codes codes;
  const std::string config = "--set 'config.architectures=[\"ContinuousPrompt\"]' --set config.prompt_length=3 --set 'config.verbalizer=[[5],[6]]' --set config.mask_token_id=4 "
                             "--set 'config.pattern=[\"{prompt}\",\"{text}\",\"{prompt}\",\"{pair}\",\"{prompt}\",\"{mask}\"]'";
  codes.train("text_classification", "roberta", "clones", "out", "--epochs 4 --batch-size 8 --lr 1e-2 " + config);
  const auto before = zoo::weights::Checkpoint::open(codes.path() / "roberta"), after = zoo::weights::Checkpoint::open(codes.path() / "out");
  for (const char* key : {"roberta.embeddings.word_embeddings.weight", "roberta.encoder.layer.1.output.dense.weight", "lm_head.bias"}) {
    INFO(key);
    CHECK(before.get(key).equal(after.get(std::string("model.") + key)));
  }
  CHECK(after.get("prompt_embeddings.weight").sizes() == at::IntArrayRef({3, 32}));
  const Json metrics = codes.evaluate("text_classification", "out", "clones/train.txt");
  CHECK(metrics.at("samples") == 40);
  CHECK(metrics.at("loss").get<double>() < 0.72);
  CHECK(zoo_program("run " + codes.at("out") + " --input 'int a ;' --pair 'int b ;' --json --log-level error").code == 0);
  const auto wrong = zoo_program("train --task text_classification --model " + codes.at("roberta") + " --data " + codes.at("clones") + " --out " + codes.at("no") +
                                 " --set 'config.architectures=[\"ContinuousPrompt\"]' --set config.mask_token_id=4 --set 'config.verbalizer=[[5],[6]]' --set 'config.pattern=[\"{text}\"]'");
  CHECK(wrong.code != 0);
  CHECK_THAT(wrong.err, ContainsSubstring("pattern"));
}

TEST_CASE("a question answering head is trained on SQuAD's form and measured", "[cli][question_answering]") {
  const Codes codes;
  Json paragraphs = Json::array();
  for (const char* name : {"a", "b", "c", "x", "y"}) {
    const std::string context = std::string("int ") + name + " = " + name + " ; return " + name + " ;";
    paragraphs.push_back({{"context", context}, {"qas", {{{"id", name}, {"question", "who is the return ?"}, {"answers", {{{"text", "return"}, {"answer_start", context.find("return")}}}}}}}});
  }
  codes.write("squad/train.json", Json({{"data", {{{"paragraphs", paragraphs}}}}}).dump());
  codes.train("question_answering", "bert", "squad", "out", "--epochs 30 --batch-size 5 --lr 3e-3");
  const Json metrics = codes.evaluate("question_answering", "out", "squad/train.json");
  CHECK(metrics.at("exact_match").get<double>() == 1.0);
  CHECK(metrics.at("f1").get<double>() == 1.0);
  const auto one = zoo_program("run " + codes.at("out") + " --task question_answering --input 'who is the return ?' --pair 'int a = b ; return a ;' --json --log-level error");
  INFO(one.err);
  REQUIRE(one.code == 0);
  CHECK(one.json().at("predictions")[0].at("answer") == "return");
}

}  // namespace cli_code_tasks_tests
