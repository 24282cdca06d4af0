// zoo train --processes 2, with the real program: the same weights as one process, deaths, resuming.
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "app/engine/ranks.h"
#include "data/image.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "weights/checkpoint.h"

namespace cli_distributed_tests {
using zoo::test::file_text;
using zoo::test::has;
using zoo::test::Outcome;
using zoo::test::Scratch;
using zoo::test::zoo_program;
namespace fs = std::filesystem;

// Noise in two classes, 31 pictures to learn from: with batches of 2 x 4 the last has 7, 3 and 4 of them.
void write_pictures(const Scratch& scratch) {
  std::mt19937 random(11);
  for (const auto& [split, count] : {std::pair<std::string, int>{"train", 31}, {"test", 9}}) {
    for (int i = 0; i < count; ++i) {
      const at::Tensor picture = at::empty({16, 16, 3}, at::kByte);
      for (int64_t k = 0; k < picture.numel(); ++k) picture.data_ptr<uint8_t>()[k] = static_cast<uint8_t>(random() % 90 + (i % 2 ? 150 : 0));
      scratch.write("set/" + split + (i % 2 ? "/light/" : "/dark/") + std::to_string(i) + ".png", zoo::data::encode_png(picture));
    }
  }
}

std::string command(const Scratch& scratch, const std::string& out, int batch, const std::string& more = "") {
  return "train --model vit:tiny --task image_classification --data '" + (scratch / "set").string() + "' --epochs 5 --lr 0.05 --seed 3 --json" +
         " --optimizer sgd --set config.image_size=16 --set config.patch_size=4 --set config.hidden_dropout_prob=0 --set config.attention_probs_dropout_prob=0 --batch-size " +
         std::to_string(batch) + " --out '" + (scratch / out).string() + "' " + more;
}

double largest_difference(const fs::path& a, const fs::path& b) {
  const auto one = zoo::weights::Checkpoint::open(a), two = zoo::weights::Checkpoint::open(b);
  double largest = 0;
  REQUIRE(one.tensors().size() == two.tensors().size());
  for (const auto& info : one.tensors()) {
    largest = std::max(largest, (one.get(info.name).to(at::kDouble) - two.get(info.name).to(at::kDouble)).abs().max().item<double>());
  }
  return largest;
}

TEST_CASE("two processes with batch b equal one with batch 2b", "[cli][distributed]") {
  NEEDS(zoo::data::image_files_supported() && zoo::app::distributed_available(), "a build with OpenCV and c10d");
  const Scratch scratch;
  write_pictures(scratch);
  const Outcome one = zoo_program(command(scratch, "one", 8));
  INFO(one.err);
  REQUIRE(one.code == 0);
  REQUIRE(one.json().at("steps") == 20);
  for (const std::string more : {"", "--set shard_optimizer=true", "--set accumulate=2 --set batch_size=2"}) {
    INFO(more);
    const Outcome two = zoo_program(command(scratch, "two", 4, "--processes 2 --overwrite ") + more);
    INFO(two.err);
    REQUIRE(two.code == 0);
    CHECK(two.json().at("steps") == 20);
    CHECK(two.json().at("samples") == 9);
    CHECK(largest_difference(scratch / "one", scratch / "two") < 1e-6);
    CHECK(two.json().at("metrics").at("accuracy") == one.json().at("metrics").at("accuracy"));
    CHECK(two.json().at("metrics").at("loss").get<double>() == Approx(one.json().at("metrics").at("loss").get<double>()).margin(1e-5));
  }
}

TEST_CASE("batch norms in two processes: each normalises its share, the first one's statistics are saved", "[cli][distributed]") {
  NEEDS(zoo::data::image_files_supported() && zoo::app::distributed_available(), "a build with OpenCV and c10d");
  const Scratch scratch;
  write_pictures(scratch);
  const auto folder = "'" + (scratch / "two").string() + "'", set = "'" + (scratch / "set").string() + "'";
  const Outcome two = zoo_program("train --model resnet:tiny --task image_classification --data " + set +
                                  " --set preprocess.size=32 --epochs 3 --batch-size 4 --lr 1e-2 --seed 3 --json --processes 2 --out " + folder);
  INFO(two.err);
  REQUIRE(two.code == 0);
  CHECK(two.json().at("metrics").at("accuracy").get<double>() > 0.9);
  const auto saved = zoo::weights::Checkpoint::open(scratch / "two");
  const auto seen = saved.get("resnet.embedder.embedder.normalization.num_batches_tracked").item<int64_t>();
  CHECK(seen > 0);
  CHECK(seen % 4 == 0);  // of one process: four steps an epoch
  CHECK(seen <= 12);
  // What both measured is what the folder gives.
  const Outcome measured = zoo_program("eval " + folder + " --data " + set + " --json");
  REQUIRE(measured.code == 0);
  CHECK(measured.json().at("metrics").at("loss").get<double>() == Approx(two.json().at("metrics").at("loss").get<double>()).margin(1e-4));
}

TEST_CASE("a killed process stops the training, which goes on afterwards to the same weights", "[cli][distributed]") {
  NEEDS(zoo::data::image_files_supported() && zoo::app::distributed_available(), "a build with OpenCV and c10d");
  const Scratch scratch;
  write_pictures(scratch);
  const std::string how = "--processes 2 --set epochs=40 --set checkpoint.every_steps=3";
  REQUIRE(zoo_program(command(scratch, "whole", 4, how)).code == 0);
  // Rank 1 finds its end by its environment, once the first checkpoint is there.
  const std::string killer = "( while ! ls '" + (scratch / "cut").string() + "'/checkpoints/step-* > /dev/null 2>&1; do sleep 0.02; done; "
                             "for p in $(pgrep -f '" + (scratch / "cut").string() + "'); do "
                             "tr '\\0' '\\n' < /proc/$p/environ 2> /dev/null | grep -qx RANK=1 && kill -9 $p; done ) & ";
  const auto start = std::chrono::steady_clock::now();
  const Outcome cut = zoo_program(command(scratch, "cut", 4, how), killer);
  INFO(cut.err);
  CHECK(cut.code == 1);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));
  CHECK(has(cut.err, "rank 1 of 2"));
  CHECK(has(cut.err, "killed by signal 9"));
  const Outcome resumed = zoo_program("train --processes 2 --json --resume '" + (scratch / "cut").string() + "'");
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(has(resumed.err, "going on after step"));
  CHECK(file_text(scratch / "cut/model.safetensors") == file_text(scratch / "whole/model.safetensors"));
  CHECK(zoo_program("train --json --resume '" + (scratch / "cut").string() + "'").code == 0);  // finished: nothing to do
}

TEST_CASE("seeds in two processes each: killed in the second, they go on to the same weights without the recipe", "[cli][distributed]") {
  NEEDS(zoo::data::image_files_supported() && zoo::app::distributed_available(), "a build with OpenCV and c10d");
  const Scratch scratch;
  write_pictures(scratch);
  const std::string how = "--processes 2 --seeds 1,2 --set epochs=20 --set checkpoint.every_steps=3";
  const Outcome whole = zoo_program(command(scratch, "whole", 4, how));
  INFO(whole.err);
  REQUIRE(whole.code == 0);
  CHECK(whole.json().at("finished") == 2);
  CHECK(whole.json().at("metrics").at("accuracy").at("values").size() == 2);
  const std::string killer = "( while ! ls '" + (scratch / "cut").string() + "'/seed-2/checkpoints/step-* > /dev/null 2>&1; do sleep 0.02; done; "
                             "kill -9 $(pgrep -f '[/]" + (scratch / "cut").string().substr(1) + " --processes') ) & ";  // [/]: not the shell that has this line
  CHECK(zoo_program(command(scratch, "cut", 4, how), killer).code != 0);
  CHECK(fs::exists(scratch / "cut/seed-1/results.json"));
  CHECK_FALSE(fs::exists(scratch / "cut/seed-2/results.json"));
  const auto written = fs::last_write_time(scratch / "cut/seed-1/model.safetensors");
  const std::string again = "train --json --resume '" + (scratch / "cut").string() + "'";
  CHECK(zoo_program(again + " --processes 1").code == 2);
  const Outcome resumed = zoo_program(again);
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(has(resumed.err, "going on after step"));
  CHECK(resumed.json().at("metrics") == whole.json().at("metrics"));
  CHECK(fs::last_write_time(scratch / "cut/seed-1/model.safetensors") == written);
  for (const std::string seed : {"seed-1", "seed-2"})
    CHECK(file_text(scratch / ("cut/" + seed + "/model.safetensors")) == file_text(scratch / ("whole/" + seed + "/model.safetensors")));
}

// A port that nobody listens at now.
int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

// A launcher's variables for one of two processes: % is its rank.
std::string variables(std::string pattern, int rank) {
  for (size_t at; (at = pattern.find('%')) != std::string::npos;) pattern.replace(at, 1, std::to_string(rank));
  return "env OMP_NUM_THREADS=1 " + pattern + " ";
}

TEST_CASE("two processes under the variables of each launcher train as those of --processes", "[cli][distributed]") {
  NEEDS(zoo::data::image_files_supported() && zoo::app::distributed_available(), "a build with OpenCV and c10d");
  const Scratch scratch;
  write_pictures(scratch);
  REQUIRE(zoo_program(command(scratch, "own", 4, "--processes 2 --set epochs=1"), "env OMP_NUM_THREADS=1").code == 0);
  const std::string port = "MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(free_port()), job = std::to_string(::getpid());
  const std::pair<std::string, std::string> launchers[] = {
      {"torchrun", "RANK=% LOCAL_RANK=% WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 " + port},
      {"mpirun", "OMPI_COMM_WORLD_RANK=% OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=% OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_NAMESPACE=zoo-" + job},
      {"mpiexec", "PMI_RANK=% PMI_SIZE=2 PMI_ID=% MPI_LOCALRANKID=% MPI_LOCALNRANKS=2 PMI_PORT=zoo:" + job},
      {"srun", "SLURM_PROCID=% SLURM_LOCALID=% SLURM_NTASKS=2 SLURM_STEP_NUM_TASKS=2 SLURM_NNODES=1 SLURM_STEP_NODELIST=localhost SLURM_STEP_ID=0 SLURM_JOB_ID=" + job}};
  for (const auto& [name, pattern] : launchers) {
    INFO(name);
    const std::string how = command(scratch, name, 4, "--set epochs=1");
    const Outcome both = zoo_program(how, "( " + variables(pattern, 1) + ZOO_PROGRAM " " + how + " > '" + (scratch / (name + ".1")).string() + "' 2>&1 ) & " + variables(pattern, 0));
    INFO(both.err << file_text(scratch / (name + ".1")));
    REQUIRE(both.code == 0);
    CHECK(both.json().at("samples") == 9);
    CHECK(file_text(scratch / (name + "/model.safetensors")) == file_text(scratch / "own/model.safetensors"));
  }
}

TEST_CASE("run and eval refuse to do the same work several times", "[cli][distributed]") {
  const Scratch scratch;
  const std::string out = "--out '" + (scratch / "out").string() + "'", lines = "'" + scratch.write("lines.txt", "one\n").string() + "'";
  const std::string run = "run bert:tiny --task embedding " + lines + " " + out, eval = "eval bert:tiny --task fill_mask --data " + lines + " " + out;
  for (const auto& command : {run, eval}) {
    for (const std::string pattern : {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500", "WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2",
                                      "PMI_RANK=0 PMI_SIZE=2", "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=2"}) {
      INFO(command << " " << pattern);
      const Outcome outcome = zoo_program(command, "env " + pattern);
      CHECK(outcome.code == 2);
      CHECK(has(outcome.err, "started 2"));
      CHECK(has(outcome.err, "does not share its work"));
      CHECK_FALSE(fs::exists(scratch / "out"));
    }
    // One process under a launcher, or a batch script that describes the job: what fails, if anything, is something else.
    for (const std::string pattern : {"RANK=0 WORLD_SIZE=1", "SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_NTASKS=2"})
      CHECK_FALSE(has(zoo_program(command, "env " + pattern).err, "does not share its work"));
  }
}

TEST_CASE("mistakes with several processes", "[cli][distributed]") {
  const Scratch scratch;
  const Outcome partial = zoo_program("train --model vit:tiny --task image_classification --data x --out '" + (scratch / "o").string() + "'", "WORLD_SIZE=2 ");
  CHECK(partial.code == 2);
  CHECK(has(partial.err, "WORLD_SIZE without RANK"));
  CHECK(zoo_program("train --model vit:tiny --task image_classification --data x --processes 0 --out '" + (scratch / "o").string() + "'").code == 2);
}

}  // namespace cli_distributed_tests
