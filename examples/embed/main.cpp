// A network inside another program: a checkpoint folder, or a fresh network by name, run once.
//   embed /path/to/all-MiniLM-L6-v2      embed bert:tiny
#include <zoo/app/bundle.h>

#include <exception>
#include <iostream>

int main(int argc, char** argv) try {
  const zoo::app::Bundle bundle = zoo::app::load_bundle(argc > 1 ? argv[1] : "bert:tiny", at::kCPU);

  const at::Tensor tokens = at::randint(0, bundle.config.at("vocab_size").get<int64_t>(), {1, 8}, at::kLong);
  const zoo::Tensors inputs = {{"tokens", tokens}, {"mask", at::ones({1, 8}, at::kBool)}};
  for (const auto& [name, tensor] : bundle.model->forward(inputs)) {
    std::cout << name << " " << tensor.sizes() << "\n";
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "embed: " << error.what() << "\n";
  return 1;
}
