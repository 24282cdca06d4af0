// CodeXGLUE's defects and clones: their files, and networks that read two texts apart.
#include <ATen/ATen.h>

#include <fstream>

#include "app/cli.h"
#include "app/tasks/labelled_text.h"
#include "app/tasks/prompt_pattern.h"
#include "app/tasks/task.h"
#include "app/tasks/text_batches.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace code_tasks_tests {
using namespace zoo;
using namespace zoo::app;
namespace fs = std::filesystem;

using zoo::test::Scratch;

Bundle detector(const Scratch& folder, const std::string& architecture) {
  std::string vocabulary = "[PAD]\n[UNK]\n[SEP]\n[CLS]\n";
  for (const char* word : {"int", "x", "y", "=", "1", ";", "return", "free", "(", ")"}) vocabulary += std::string(word) + "\n";
  Bundle bundle;
  bundle.spec = "tiny";
  bundle.entry = &find_entry("t5");
  bundle.config = variant_config(*bundle.entry, "tiny");
  bundle.config["architectures"] = {architecture};
  bundle.config["eos_token_id"] = 2;
  bundle.task = task_of(*bundle.entry, bundle.config);
  bundle.tokenizer = tokenizers::load(folder.write("vocab.txt", vocabulary));
  at::manual_seed(3);
  bundle.model = bundle.entry->make(bundle.config);
  bundle.model->init_weights();
  bundle.model->eval();
  bundle.labels = {"0", "1"};
  return bundle;
}

TEST_CASE("CodeXGLUE's defects are read as they are", "[code_tasks]") {
  const Scratch folder;
  const auto file = folder.write("test.jsonl", R"({"project":"p","commit_id":"c","target":1,"func":"int  x = 1;\n\treturn x;","idx":7})" "\n"
                                               R"({"project":"p","commit_id":"d","target":0,"func":"free ( x ) ;","idx":8})" "\n");
  CHECK(read_labelled_texts(file, Json::object(), 0).rows.row(0).front() == "int  x = 1;\n\treturn x;");
  const auto tidy = read_labelled_texts(file, {{"columns", "func,target"}, {"single_spaces", true}}, 0);
  CHECK(tidy.rows.first() == std::vector<std::string>{"int x = 1; return x;", "free ( x ) ;"});
  CHECK(tidy.names == std::vector<std::string>{"1", "0"});
  CHECK(tidy.labels == std::vector<int32_t>{0, 1});
  CHECK_FALSE(tidy.rows.paired());
  const auto bundle = detector(folder, "DefectModel");
  const auto data = text_classification_task().open(file, bundle, {});
  const auto batch = data->get(std::vector<int64_t>{0, 1}, false, 0);
  CHECK(batch.at("labels").equal(at::tensor({1, 0}, at::kLong)));
  CHECK(bundle.model->forward(batch).at("logits").sizes() == at::IntArrayRef({2, 2}));
}

TEST_CASE("CodeXGLUE's clones: pairs by the index of their functions", "[code_tasks]") {
  const Scratch folder;
  folder.write("data.jsonl", "{\"func\":\"int x =\\n 1 ;\",\"idx\":\"10\"}\n{\"func\":\"return y ;\",\"idx\":\"11\"}\n{\"func\":\"free ( x ) ;\",\"idx\":12}\n");
  folder.write("train.txt", "10\t11\t0\n12\t10\t1\n10\t99\t1\n");
  folder.write("test.txt", "11\t12\t1\n");
  const auto bundle = detector(folder, "CloneModel");
  CHECK(reads_pairs_apart(bundle));
  CHECK_FALSE(reads_pairs_apart(detector(folder, "DefectModel")));
  DataOptions options;
  options.split = "train";
  const auto data = text_classification_task().open(folder.path(), bundle, options);
  REQUIRE(data->size() == 2);  // 99 is nowhere
  CHECK(data->describe(0) == "int x = 1 ; | return y ;");
  const auto batch = data->get(std::vector<int64_t>{0, 1}, false, 0);
  CHECK(batch.at("labels").equal(at::tensor({0, 1}, at::kLong)));
  CHECK(batch.at("tokens").sizes() == at::IntArrayRef({2, 7}));       // [CLS] int x = 1 ; [SEP]
  CHECK(batch.at("pair_tokens").sizes() == at::IntArrayRef({2, 7}));  // the longer: [CLS] int x = 1 ; [SEP]
  CHECK(batch.at("pair_mask").sum(1).equal(at::tensor({5, 7}, at::kLong)));
  CHECK(bundle.model->forward(batch).at("logits").sizes() == at::IntArrayRef({2, 2}));
  CHECK_THROWS_WITH(read_labelled_texts(folder.write("bad.txt", "10\t11\n"), Json::object(), 0), ContainsSubstring("line 1"));
}

TEST_CASE("a network that compares two texts asks for the second", "[code_tasks]") {
  const Scratch folder;
  auto bundle = detector(folder, "CloneModel");
  RunOptions options;
  options.json = true;
  options.text = "int x = 1 ;";
  CHECK_THROWS_WITH(text_classification_task().run(bundle, options), ContainsSubstring("--pair"));
  options.options = {{"pair", "return y ;"}};
  const Json one = text_classification_task().run(bundle, options).at("predictions")[0];
  options.options["pair"] = "free ( x ) ;";
  const Json other = text_classification_task().run(bundle, options).at("predictions")[0];
  CHECK(one.at("probabilities").size() == 2);
  CHECK(one.at("probability") != other.at("probability"));
}

TEST_CASE("a pattern puts prompts and the mask around texts, and cuts the pair first", "[code_tasks]") {
  const Scratch folder;
  std::string vocabulary = "[PAD]\n[UNK]\n[SEP]\n[CLS]\n[MASK]\n";
  for (const char* word : {"int", "x", "y", ";", "the"}) vocabulary += std::string(word) + "\n";
  Bundle bundle;
  bundle.spec = "tiny";
  bundle.entry = &find_entry("zecoler");
  bundle.config = variant_config(*bundle.entry, "tiny");
  bundle.tokenizer = tokenizers::load(folder.write("vocab.txt", vocabulary));
  bundle.config["pattern"] = {"{prompt}", "{text}", "{prompt}", "{pair}", "the", "{prompt}", "{mask}"};
  const PromptPattern pattern(bundle);
  const auto one = pattern.encode("int x ;", "y ;", 64);
  CHECK(one.encoding.ids == std::vector<int64_t>{3, 3, 5, 6, 8, 3, 7, 8, 9, 3, 4, 2});
  CHECK(one.prompts == std::vector<bool>{false, true, false, false, false, true, false, false, false, true, false, false});
  CHECK_FALSE(one.cut);
  CHECK(pattern.encode("int x ;", "y ;", 11).encoding.ids == std::vector<int64_t>{3, 3, 5, 6, 8, 3, 7, 9, 3, 4, 2});
  CHECK(pattern.encode("int x ;", "y ;", 9).encoding.ids == std::vector<int64_t>{3, 3, 5, 6, 3, 9, 3, 4, 2});  // the pair is gone, then the text
  CHECK_THROWS_WITH(pattern.encode("int x ;", "y ;", 5), ContainsSubstring("pattern"));
  const std::vector<std::string> texts{"int x ;", "x"}, pairs{"y ;", "y"};
  const auto encoded = encode_for(bundle, texts, pairs, 64);
  const auto batch = pad_texts(encoded, std::vector<int64_t>{0, 1}, 0);
  CHECK(batch.at("prompt_places").sum(1).equal(at::tensor({3, 3}, at::kLong)));
  CHECK_FALSE(batch.at("prompt_places")[1][11].item<bool>());
  CHECK_THROWS_WITH(encode_for(bundle, texts, {}, 64), ContainsSubstring("--pair"));
  bundle.config["pattern"] = {"{text}", "{mask}"};
  CHECK_THROWS_WITH(PromptPattern(bundle), ContainsSubstring("prompt_length"));
}

TEST_CASE("IT5's config is T5 v1.1's", "[code_tasks]") {
  Json config = Json::parse(R"({"architectures":["T5ForConditionalGeneration"],"d_ff":64,"d_kv":8,"d_model":32,"decoder_start_token_id":0,"dropout_rate":0.1,
    "eos_token_id":1,"feed_forward_proj":"gated-gelu","initializer_factor":1.0,"is_encoder_decoder":true,"layer_norm_epsilon":1e-06,"model_type":"t5",
    "num_decoder_layers":8,"num_heads":6,"num_layers":8,"output_past":true,"pad_token_id":0,"relative_attention_num_buckets":32,
    "tie_word_embeddings":false,"torch_dtype":"float32","transformers_version":"4.9.2","use_cache":true,"vocab_size":100})");
  const auto model = make_from_config(config);
  CHECK(model->named_parameters().contains("lm_head.weight"));
  CHECK(model->named_parameters().contains("encoder.block.7.layer.1.DenseReluDense.wi_1.weight"));
  CHECK(model->named_parameters()["lm_head.weight"].data_ptr() != model->named_parameters()["shared.weight"].data_ptr());
  CHECK(variant_config(find_entry("it5"), "it5-small").at("num_layers") == 8);
}

TEST_CASE("the base of a network is found under its detector's prefix", "[code_tasks]") {
  const auto& t5 = find_entry("t5");
  CHECK(base_prefix_of(t5, {{"architectures", {"CloneModel"}}}) == "encoder");
  CHECK(base_prefix_of(t5, {{"architectures", {"T5ForSequenceClassification"}}}) == "transformer");
  CHECK(config_for_task(t5, {{"architectures", {"T5ForConditionalGeneration"}}}, "text_classification").at("architectures")[0] == "T5ForSequenceClassification");
  const auto& roberta = find_entry("xlm-roberta");
  CHECK(config_for_task(roberta, {{"architectures", {"XLMRobertaForMaskedLM"}}}, "token_classification").at("architectures")[0] ==
        "XLMRobertaForTokenClassification");
}

}  // namespace code_tasks_tests
