// Several processes. What needs two of them starts this very program again, with a hidden test case for each part ("rank: ...").
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "app/cli.h"
#include "app/engine/gradient_reducer.h"
#include "app/engine/place.h"
#include "app/engine/ranks.h"
#include "app/engine/sharded_optimizer.h"
#include "app/engine/sharing.h"
#include "app/engine/tensor_bytes.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace distributed_tests {
using namespace zoo::app;
using zoo::Json;
using zoo::Tensors;
using zoo::test::has;
using Variables = std::map<std::string, std::string>;

std::optional<Place> place_of(const Variables& variables) {
  return place_from_environment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string refusal(const Variables& variables) {
  try {
    place_of(variables);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("launchers tell the place in their own variables", "[distributed]") {
  CHECK_FALSE(place_of({}));
  CHECK_FALSE(place_of({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}));
  const auto torch = place_of({{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}, {"MASTER_ADDR", "host"},
                               {"MASTER_PORT", "29501"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}, {"TORCHELASTIC_RESTART_COUNT", "2"}});
  REQUIRE(torch);
  CHECK((torch->rank == 3 && torch->size == 4 && torch->local_rank == 1 && torch->local_size == 2));
  CHECK((torch->address == "host" && torch->port == 29501 && torch->store_is_hosted && torch->session == "2"));
  const auto mpi = place_of({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"PMIX_NAMESPACE", "42"}});
  REQUIRE(mpi);
  CHECK((mpi->rank == 1 && mpi->size == 2 && mpi->address == "127.0.0.1" && mpi->port >= 20000 && !mpi->store_is_hosted));
  const auto slurm = place_of({{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "1"}, {"SLURM_JOB_ID", "77"}, {"SLURM_STEP_ID", "0"},
                               {"SLURM_STEP_NODELIST", "gpu[03-06]"}});
  REQUIRE(slurm);
  CHECK((slurm->rank == 5 && slurm->size == 8 && slurm->local_rank == 1 && slurm->address == "gpu03"));
  // The batch script itself is one process.
  CHECK_FALSE(place_of({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "77"}}));
}

TEST_CASE("variables of launchers that are incomplete or contradict each other are refused", "[distributed]") {
  const Variables whole = {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "h"}, {"MASTER_PORT", "1"}};
  const auto with = [&](const std::string& name, const std::string& value) {
    Variables changed = whole;
    changed[name] = value;
    return refusal(changed);
  };
  CHECK(has(refusal({{"WORLD_SIZE", "2"}}), "WORLD_SIZE without RANK, MASTER_ADDR, MASTER_PORT"));
  CHECK(has(with("RANK", "2"), "RANK is '2'; expected a number from 0 to 1"));
  CHECK(has(with("RANK", "one"), "RANK is 'one'"));
  CHECK(has(with("WORLD_SIZE", "0"), "WORLD_SIZE is '0'"));
  CHECK(has(with("MASTER_PORT", "70000"), "MASTER_PORT is '70000'"));
  Variables two = whole;
  two["OMPI_COMM_WORLD_RANK"] = "1";
  two["OMPI_COMM_WORLD_SIZE"] = "2";
  CHECK(has(refusal(two), "contradict"));
  CHECK(has(refusal({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "0"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}),
            "without MASTER_ADDR"));
}

TEST_CASE("the first host of SLURM's lists", "[distributed]") {
  CHECK(first_host("login1") == "login1");
  CHECK(first_host("a1,b2") == "a1");
  CHECK(first_host("gpu[03-05,9],login1") == "gpu03");
  CHECK(first_host("rack[7,9]-a") == "rack7-a");
  CHECK_THROWS_AS(first_host(""), UsageError);
}

TEST_CASE("tensors survive the way through bytes", "[distributed]") {
  const Tensors tensors = {{"a", at::arange(6, at::kFloat).view({2, 3}).t()}, {"empty", at::empty({0, 4}, at::kLong)}, {"flag", at::ones({}, at::kBool)}};
  const std::string bytes = tensors_to_bytes(tensors);
  const Tensors back = tensors_from_bytes(bytes);
  REQUIRE(back.size() == 3);
  for (const auto& [name, tensor] : tensors) {
    CHECK(back.at(name).scalar_type() == tensor.scalar_type());
    CHECK(at::equal(back.at(name), tensor));
  }
  CHECK_THROWS(tensors_from_bytes(bytes.substr(0, bytes.size() - 1)));
  CHECK_THROWS(tensors_from_bytes("abc"));
}

// --- two processes ---

pid_t start_rank(const std::string& part, int rank, int size, int port) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string(), name = "rank: " + part;
  const std::string command = "unset ZOO_MODEL; RANK=" + std::to_string(rank) + " LOCAL_RANK=" + std::to_string(rank) + " WORLD_SIZE=" + std::to_string(size) +
                              " LOCAL_WORLD_SIZE=" + std::to_string(size) + " MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(port) +
                              " TORCHELASTIC_USE_AGENT_STORE=True OMP_NUM_THREADS=1 exec '" + program + "' '" + name + "'";
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  return child;
}

// The exit codes of the ranks (128 + signal when killed); each checks for itself.
std::vector<int> run_ranks(const std::string& part, int size = 2) {
  const StoreHost store;
  std::vector<pid_t> children;
  for (int rank = 0; rank < size; ++rank) children.push_back(start_rank(part, rank, size, store.port()));
  std::vector<int> codes;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  return codes;
}

TEST_CASE("two processes: collectives, gradients, shards, evaluation", "[distributed]") {
  NEEDS(distributed_available(), "a build with c10d");
  const std::string part = GENERATE(as<std::string>(), "collectives", "gradients", "shards", "evaluation");
  INFO(part);
  CHECK(run_ranks(part) == std::vector<int>{0, 0});
}

TEST_CASE("three processes share uneven work", "[distributed]") {
  NEEDS(distributed_available(), "a build with c10d");
  CHECK(run_ranks("evaluation", 3) == std::vector<int>{0, 0, 0});
}

TEST_CASE("a dead process is noticed and named", "[distributed]") {
  NEEDS(distributed_available(), "a build with c10d");
  const auto start = std::chrono::steady_clock::now();
  CHECK(run_ranks("death") == std::vector<int>{0, 128 + SIGKILL});
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));
}

TEST_CASE("the error of one process is told by the other", "[distributed]") {
  NEEDS(distributed_available(), "a build with c10d");
  CHECK(run_ranks("error") == std::vector<int>{0, 0});
}

TEST_CASE("rank: collectives", "[.][rank]") {
  const Ranks ranks(*place_from_environment());
  CHECK(ranks.size() == 2);
  at::Tensor tensor = at::full({3}, ranks.rank() + 1.0);
  ranks.all_reduce_sum(tensor);
  CHECK(at::equal(tensor, at::full({3}, 3.0)));
  CHECK(ranks.any(ranks.rank() == 1));
  CHECK_FALSE(ranks.any(false));
  CHECK(ranks.broadcast(ranks.first() ? "from the first" : "") == "from the first");
  CHECK(ranks.broadcast(ranks.first() ? "" : "from the second", 1) == (ranks.first() ? "from the second" : "from the second"));
  const auto all = ranks.gather(ranks.first() ? "" : "one");
  CHECK(all == (ranks.first() ? std::vector<std::string>{"", "one"} : std::vector<std::string>{}));
  const at::Tensor strided = at::full({4, 2}, ranks.rank()).t();
  ranks.broadcast(std::vector<at::Tensor>{strided}, 1);
  CHECK(at::equal(strided, at::ones({2, 4}, strided.options())));
  ranks.require_same("text", "same");
  if (ranks.first()) ranks.require_same("text", "a");
  else CHECK_THROWS_AS(ranks.require_same("text", "b"), UsageError);
}

struct Toy : torch::nn::Module {
  at::Tensor first, second, sometimes, never;
  Toy() {
    at::manual_seed(5);
    first = register_parameter("first", at::randn({6, 4}));
    second = register_parameter("second", at::randn({4, 600}));  // large enough for buckets of its own
    sometimes = register_parameter("sometimes", at::randn({4}));
    never = register_parameter("never", at::randn({7}));
  }
  // The mean over the rows of `x`, [B, 6].
  at::Tensor loss(const at::Tensor& x, bool with) {
    at::Tensor hidden = at::tanh(at::matmul(x, first));
    if (with) hidden = hidden * sometimes;
    return at::matmul(hidden, second).square().sum(1).mean();
  }
};

void check_close(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.defined() == b.defined());
  if (a.defined()) CHECK((a - b).abs().max().item<double>() < 1e-6 * std::max(1.0, b.abs().max().item<double>()));
}

// Micro-batches of rows for each rank, empty ones among them, against the whole in one pass.
void check_gradients(const Ranks& ranks, GradientReducer& reducer, Toy& toy, const std::vector<std::vector<int64_t>>& rows, bool with) {
  const at::Tensor x = at::arange(60, at::kFloat).view({10, 6}).cos();
  int64_t terms = 0, begin = 0;
  for (const auto& micro : rows) terms += micro[0] + micro[1];
  // On a network of its own: the reducer's hooks on `toy` also count passes that it did not start.
  Toy whole;
  whole.loss(x.slice(0, 0, terms), with).backward();
  toy.zero_grad();
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t from = begin + (ranks.first() ? 0 : rows[i][0]), count = rows[i][static_cast<size_t>(ranks.rank())];
    at::Tensor loss;
    if (count > 0) loss = toy.loss(x.slice(0, from, from + count), with) * (static_cast<double>(count) / static_cast<double>(terms));
    reducer.backward(loss, i + 1 == rows.size());
    begin += rows[i][0] + rows[i][1];
  }
  for (const auto& item : toy.named_parameters()) {
    INFO(item.key());
    check_close(item.value().grad(), whole.named_parameters()[item.key()].grad());
  }
}

TEST_CASE("rank: gradients", "[.][rank]") {
  const Ranks ranks(*place_from_environment());
  Toy toy;
  for (const bool overlap : {true, false}) {
    GradientReducer reducer(ranks, toy.parameters(), overlap);
    check_gradients(ranks, reducer, toy, {{3, 3}}, true);
    check_gradients(ranks, reducer, toy, {{3, 3}}, false);          // a parameter that nobody uses in this step
    check_gradients(ranks, reducer, toy, {{4, 1}}, true);           // uneven
    check_gradients(ranks, reducer, toy, {{5, 0}}, true);           // a rank without examples
    check_gradients(ranks, reducer, toy, {{2, 2}, {2, 1}}, true);   // accumulated
    check_gradients(ranks, reducer, toy, {{2, 2}, {1, 0}}, true);   // the last part empty on one rank
    check_gradients(ranks, reducer, toy, {{0, 2}, {0, 3}}, false);
  }
}

TEST_CASE("rank: shards", "[.][rank]") {
  const Ranks ranks(*place_from_environment());
  for (const std::string name : {"adamw", "sgd", "adafactor"}) {
    INFO(name);
    OptimizerOptions options = OptimizerOptions::defaults(name);
    Toy alone, shared;
    ShardedOptimizer plain(options, alone, ranks, false), sharded(options, shared, ranks, true);
    const auto gradients = [](Toy& toy, int step) {
      for (auto& parameter : toy.parameters()) parameter.mutable_grad() = (parameter.detach() * (1.0 + step)).sin();
    };
    for (int step = 0; step < 3; ++step) {
      gradients(alone, step);
      plain.step(0.01);
      gradients(shared, step);
      sharded.step(0.01);
    }
    for (const auto& item : alone.named_parameters()) CHECK(at::equal(item.value(), shared.named_parameters()[item.key()]));
    const Tensors whole = plain.state(), gathered = sharded.state();
    if (ranks.first()) {
      CHECK(gathered.size() == whole.size());
      for (const auto& [key, tensor] : whole) CHECK(at::equal(gathered.at(key), tensor));
    }
    // A second one takes the whole state, as after a resume.
    Tensors copy;
    for (const auto& [key, tensor] : whole) copy[key] = tensor.clone();
    ShardedOptimizer resumed(options, shared, ranks, true);
    resumed.load_state(copy);
    gradients(alone, 3);
    plain.step(0.01);
    gradients(shared, 3);
    resumed.step(0.01);
    for (const auto& item : alone.named_parameters()) CHECK(at::equal(item.value(), shared.named_parameters()[item.key()]));
  }
}

struct Recorder : Metrics {
  std::vector<int64_t> seen, values;
  void add(const Tensors& outputs, const Tensors& batch, std::span<const int64_t> indices) override {
    for (size_t i = 0; i < indices.size(); ++i) {
      seen.push_back(indices[i]);
      values.push_back(outputs.at("logits")[static_cast<int64_t>(i)].item<int64_t>() + batch.at("labels")[static_cast<int64_t>(i)].item<int64_t>());
    }
  }
  Json result() const override { return {}; }
};

TEST_CASE("rank: evaluation", "[.][rank]") {
  const Ranks ranks(*place_from_environment());
  const int64_t total = 17, size = 2, batches = 9;  // the last batch holds one; with two or three ranks the last round is not full
  Recorder recorder;
  MetricsGatherer gatherer(ranks, recorder);
  for (int64_t number = ranks.rank(); number - ranks.rank() < batches; number += ranks.size()) {
    std::vector<int64_t> indices;
    for (int64_t i = number * size; i < std::min(total, (number + 1) * size); ++i) indices.push_back(i);
    const at::Tensor numbers = at::tensor(indices, at::kLong);
    if (indices.empty()) gatherer.add({}, {}, {});
    else gatherer.add({{"logits", numbers * 10}}, {{"labels", numbers}}, indices);
  }
  if (ranks.first()) {
    REQUIRE(recorder.seen.size() == static_cast<size_t>(total));
    for (int64_t i = 0; i < total; ++i) {
      CHECK(recorder.seen[static_cast<size_t>(i)] == i);
      CHECK(recorder.values[static_cast<size_t>(i)] == 11 * i);
    }
  } else {
    CHECK(recorder.seen.empty());
  }
  // The parts of a step: in order, nothing lost or repeated, also where there are fewer examples than ranks.
  for (const int64_t count : {0, 1, 2, 7}) {
    std::vector<int64_t> examples;
    for (int64_t i = 0; i < count; ++i) examples.push_back(i);
    const auto own = share_of(examples, ranks);
    const auto all = ranks.gather(Json(std::vector<int64_t>(own.begin(), own.end())).dump());
    std::vector<int64_t> together;
    for (const auto& text : all) {
      for (const int64_t index : Json::parse(text).get<std::vector<int64_t>>()) together.push_back(index);
    }
    if (ranks.first()) CHECK(together == examples);
  }
}

template <class Action>
std::string failure(Action action) {
  try {
    action();
  } catch (const RankFailure& failure) {
    return failure.what();
  }
  return "";
}

TEST_CASE("rank: death", "[.][rank]") {
  const Ranks ranks(*place_from_environment());
  ranks.barrier();
  if (!ranks.first()) std::raise(SIGKILL);
  const std::string text = failure([&] { ranks.barrier(); });
  INFO(text);
  CHECK(has(text, "rank 1 of 2 has died"));
}

TEST_CASE("rank: error", "[.][rank]") {
  const Ranks ranks(*place_from_environment());
  ranks.barrier();
  if (!ranks.first()) return ranks.leave("the disk is full");
  const std::string text = failure([&] { ranks.barrier(); });
  INFO(text);
  CHECK(has(text, "rank 1 of 2 stopped: the disk is full"));
}

}  // namespace distributed_tests
