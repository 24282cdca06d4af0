// The full published checkpoint on real sentences, not only tiny filled networks.
#include "app/verify.h"
#include "models/names.h"
#include "tests/catch.h"
#include "tests/external.h"

TEST_CASE("all-MiniLM-L6-v2: every hidden state on real sentences equals transformers'", "[checkpoint]") {
  const auto folder = zoo::test::minilm_folder();
  NEEDS(folder, "all-MiniLM-L6-v2 in $ZOO_MINILM or the cache folder (tools/fetch_minilm.sh fetches it)");
  const auto fixture = std::filesystem::path(ZOO_TEST_DIR) / "fixtures" / "checkpoints" / "minilm.safetensors";
  const auto proof = zoo::app::verify_fixture(fixture, *folder);
  INFO(zoo::join(proof.problems, "; "));
  CHECK(proof.passed);
  CHECK(proof.tensors == 6);
  WARN("largest absolute error " << proof.max_abs_error << ", relative " << proof.max_rel_error);
  CHECK_FALSE(zoo::app::verify_fixture(fixture).passed);  // without the weights it is no proof
}

TEST_CASE("rxnmapper's ALBERT: the logits of masked reactions equal transformers'", "[checkpoint]") {
  const auto folder = zoo::test::rxnmapper_folder();
  NEEDS(folder, "a checkpoint in $ZOO_RXNMAPPER or the cache folder (tools/fetch_rxnmapper.sh fetches it)");
  const auto fixture = std::filesystem::path(ZOO_TEST_DIR) / "fixtures" / "checkpoints" / "rxnmapper.safetensors";
  const auto proof = zoo::app::verify_fixture(fixture, *folder);
  INFO(zoo::join(proof.problems, "; "));
  // Judged by each tensor's largest value: logits up to 24 leave those near zero an error of 1e-4 when the matrix products are
  // another library's than the reference's (oneDNN's 4.9e-6 of the largest; the reference's own: 0).
  CHECK(proof.max_rel_error < 1e-5);
  CHECK(proof.tensors == 3);
  WARN("largest absolute error " << proof.max_abs_error << ", relative " << proof.max_rel_error);
  CHECK_FALSE(zoo::app::verify_fixture(fixture).passed);  // without the weights it is no proof
}
