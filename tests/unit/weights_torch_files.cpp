#include "tests/unit/weights_helpers.h"
#include "weights/checkpoint.h"
#include "weights/pickle.h"

namespace zoo::weights::testing::torch_files {

// The error of reading a file that begins as torch.save's older format does and goes on with this object
// pickle.
std::string pickle_error(const std::string& object) {
  TempFolder folder;
  const std::string legacy = read_bytes(fixture("plain_legacy.pth"));
  // Magic number, protocol version and system record end at the third STOP, each of them after a PROTO.
  size_t end = 0;
  for (int i = 0; i < 3; ++i) end = legacy.find(std::string(".\x80\x02", 3), end + 1);
  write_bytes(folder / "x.pth", legacy.substr(0, end + 1) + object);
  return error_of([&] { Checkpoint::open(folder / "x.pth"); });
}

// Ends the object, and gives the empty list of storages that must follow it.
const std::string kNoStorages = ".].";

std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

TEST_CASE("files of torch.save read as the values that were saved", "[weights]") {
  const Checkpoint expected = Checkpoint::open(fixture("expected.safetensors"));
  for (const char* name : {"plain_zip.pth", "plain_protocol4.pth", "plain_legacy.pth"}) {
    INFO(name);
    const Checkpoint read = Checkpoint::open(fixture(name));
    REQUIRE(read.tensors().size() == expected.tensors().size());
    CHECK(read.tensors()[0].name == "weight");
    for (const TensorInfo& info : expected.tensors()) {
      INFO(info.name);
      const at::Tensor wanted = expected.get(info.name), seen = read.get(info.name);
      CHECK(seen.scalar_type() == wanted.scalar_type());
      CHECK(seen.sizes() == wanted.sizes());
      CHECK(at::equal(seen, wanted));
    }
    CHECK(read.get("transposed").strides() == at::IntArrayRef({1, 4}));
    if (std::string(name) == "plain_zip.pth")
      CHECK(read.get("tied").data_ptr() == read.get("weight").data_ptr());
  }
}

TEST_CASE("torch.save's files of every element type", "[weights]") {
  const Checkpoint read = Checkpoint::open(fixture("dtypes.pth")),
                   expected = Checkpoint::open(fixture("dtypes.safetensors"));
  CHECK(read.tensors().size() == 17);
  for (const TensorInfo& info : expected.tensors()) {
    INFO(info.name);
    const at::Tensor wanted = expected.get(info.name), seen = read.get(info.name);
    REQUIRE(seen.scalar_type() == wanted.scalar_type());
    CHECK(same_bytes(seen, wanted));
  }
}

TEST_CASE("a state dict is found beside epoch, options and optimizer", "[weights]") {
  for (const char* name : {"nested.pth", "nested_legacy.pth"}) {
    INFO(name);
    const Checkpoint read = Checkpoint::open(fixture(name));
    CHECK(read.tensors().size() == 7);
    CHECK(read.get("0.weight").sizes() == at::IntArrayRef({2, 3}));
    CHECK(read.get("1.num_batches_tracked").item<int64_t>() == 1);
  }
  const std::string error = error_of([] { Checkpoint::open(fixture("no_tensors.pth")); });
  CHECK(contains(error, "no state dict found: the top level is a dict with the keys [lr]"));
  CHECK(contains(error, "state_dict, model, model_state_dict"));
}

TEST_CASE("pickles that name code are refused and nothing runs", "[weights]") {
  std::filesystem::remove("zoo_was_executed");
  for (const char* name : {"hostile_zip.pth", "hostile_legacy.pth"}) {
    const std::string error = error_of([&] { Checkpoint::open(fixture(name)); });
    CHECK(contains(error, "posix.system"));
    CHECK(contains(error, "zoo never runs code from a file"));
    CHECK(contains(error, "re-save as safetensors"));
  }
  CHECK(contains(error_of([] { Checkpoint::open(fixture("whole_module.pth")); }),
                 "torch.nn.modules.linear.Linear"));
  CHECK_FALSE(std::filesystem::exists("zoo_was_executed"));
  CHECK(contains(pickle_error(global("builtins", "eval") + "U\x01" "1\x85R."), "builtins.eval"));
  CHECK(contains(pickle_error("(ios\nsystem\n."), "os.system"));
  CHECK(contains(pickle_error("(" + global("os", "system") + "U\x02lso."), "os.system"));
  CHECK(contains(pickle_error(global("os", "system") + ")\x81."), "os.system"));
  CHECK(contains(pickle_error(global("os", "system") + "}b."), "os.system"));
  // A known constructor's result is not itself something to call.
  CHECK(contains(pickle_error(global("collections", "OrderedDict") + ")R)R."), "the result of another call"));
}

TEST_CASE("damaged pickles are refused with the reason", "[weights]") {
  CHECK(contains(pickle_error("."), "stack empty"));
  CHECK(contains(pickle_error("0."), "stack empty"));
  CHECK(contains(pickle_error("t."), "no beginning"));
  CHECK(contains(pickle_error("h\x05."), "used before it is stored"));
  CHECK(contains(pickle_error("]K\x01K\x02s."), "no dict"));
  CHECK(contains(pickle_error("}(K\x01u."), "no value"));
  CHECK(contains(pickle_error("K\x01K\x02" "a."), "no list"));
  CHECK(contains(pickle_error("X\xff\xff\xff\x00."), "truncated"));
  CHECK(contains(pickle_error("X\xff\xff\xff\x7f."), "a text of 2147483647 bytes"));
  CHECK(contains(pickle_error("cposix"), "middle of a line"));
  CHECK(contains(pickle_error("\xfe"), "none that torch.save writes"));
  CHECK(contains(pickle_error("(K\x01K\x02tQ."), "a storage has wrong arguments"));
  CHECK(contains(pickle_error(global("torch._utils", "_rebuild_tensor_v2") + ")R."),
                 "_rebuild_tensor has wrong arguments"));
  CHECK(contains(pickle_error("]"), "truncated"));
}

TEST_CASE("hostile pickles cost neither stack nor memory", "[weights]") {
  // A million lists in one another: freed without recursion.
  std::string nested(1'000'000, ']');
  nested += std::string(999'999, 'a');
  CHECK(contains(pickle_error(nested + kNoStorages), "the top level is no dict"));
  // A list that is copied again and again through the memo.
  std::string copies = "(";
  for (int i = 0; i < 100'000; ++i) copies += "N";
  copies += "lq\x01" "0";
  for (int i = 0; i < 1000; ++i) copies += global("torch", "Size") + "h\x01\x85R0";
  CHECK(contains(pickle_error(copies + "N."), "more items than any state dict"));
  CHECK(contains(pickle_error(std::string(4'100'000, 'N') + "."), "more values than any state dict"));
  // A list that holds itself.
  CHECK(contains(pickle_error("]q\x01h\x01" "a" + kNoStorages), "the top level is no dict"));
}

// A zip of torch.save with some bytes of its pickle changed; lengths stay, so that the archive remains valid.
std::string patched_error(const std::string& from, const std::string& to) {
  TempFolder folder;
  std::string bytes = read_bytes(fixture("plain_zip.pth"));
  const size_t found = bytes.find(from);
  REQUIRE(found != std::string::npos);
  REQUIRE(from.size() == to.size());
  bytes.replace(found, from.size(), to);
  write_bytes(folder / "x.pth", bytes);
  return error_of([&] { Checkpoint::open(folder / "x.pth"); });
}

TEST_CASE("torch files can be shards too", "[weights]") {
  TempFolder folder;
  std::filesystem::copy_file(fixture("plain_zip.pth"), folder / "pytorch_model-00001-of-00001.bin");
  write_bytes(folder / "pytorch_model.bin.index.json",
              R"({"metadata": {}, "weight_map": {"steps": "pytorch_model-00001-of-00001.bin"}})");
  const Checkpoint read = Checkpoint::open(folder.path);
  CHECK(at::equal(read.get("steps"), at::tensor({1, -2, 3}, at::kLong)));
  CHECK(read.tensors()[0].file == "pytorch_model-00001-of-00001.bin");
}

TEST_CASE("a missing storage and a TorchScript program are named as such", "[weights]") {
  TempFolder folder;
  std::string bytes = read_bytes(fixture("plain_zip.pth"));
  for (size_t at = bytes.find("/data/1"); at != std::string::npos; at = bytes.find("/data/1", at + 1)) {
    bytes.replace(at, 7, "/data/x");
  }
  write_bytes(folder / "x.pth", bytes);
  CHECK(contains(error_of([&] { Checkpoint::open(folder / "x.pth"); }), "is not in the archive"));
  CHECK(contains(error_of([] { Checkpoint::open(fixture("script.pt")); }), "a TorchScript program, not weights"));
}

TEST_CASE("views may not leave their storage", "[weights]") {
  // (offset 0, shape (3, 4), strides (4, 1)) of the first tensor
  const std::string shape = "K\x03K\x04\x86";
  CHECK(contains(patched_error(shape, "K\x04K\x04\x86"), "reaches beyond its storage of 12 elements"));
  CHECK(contains(patched_error("K\x04K\x01\x86", "K\x05K\x01\x86"), "reaches beyond its storage"));
  CHECK(contains(patched_error("little", "bigend"), "byte order \"bigend\""));
}

TEST_CASE("every prefix of a torch file is refused", "[weights]") {
  TempFolder folder;
  for (const char* name : {"plain_zip.pth", "plain_legacy.pth"}) {
    const std::string whole = read_bytes(fixture(name));
    for (size_t length = 0; length < whole.size(); length += 7) {
      INFO(name << " cut to " << length);
      write_bytes(folder / "x.pth", whole.substr(0, length));
      CHECK_FALSE(error_of([&] { Checkpoint::open(folder / "x.pth"); }).empty());
    }
  }
}

}  // namespace zoo::weights::testing::torch_files
