// Mutated weight files: each must load or throw, whatever the bytes say. Seeded, so that a failure repeats.
#include <random>

#include "tests/unit/weights_helpers.h"
#include "weights/checkpoint.h"

namespace zoo::weights::testing::fuzz {

// One to eight changes: a byte replaced, a bit flipped, a block copied over another, a cut, an insertion, a
// large number.
std::string mutate(std::string bytes, std::mt19937_64& random) {
  auto below = [&](size_t limit) { return static_cast<size_t>(random() % std::max<size_t>(1, limit)); };
  for (size_t changes = 1 + below(8); changes > 0 && !bytes.empty(); --changes) {
    const size_t at = below(bytes.size());
    switch (below(6)) {
      case 0: bytes[at] = static_cast<char>(random()); break;
      case 1: bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); break;
      case 2:
        bytes.replace(at, std::min<size_t>(8, bytes.size() - at), bytes.substr(below(bytes.size()), 8));
        break;
      case 3: if (below(4) == 0) bytes.resize(at); break;
      case 4: bytes.insert(at, 1 + below(4), static_cast<char>(random())); break;
      default: bytes.replace(at, std::min<size_t>(4, bytes.size() - at), "\xff\xff\xff\x7f"); break;
    }
  }
  return bytes;
}

// Returns how many of the mutants still loaded; every tensor of those is read in full.
size_t survivors(const std::string& name, size_t rounds) {
  TempFolder folder;
  const std::string whole = read_bytes(fixture(name));
  const auto path = folder / "mutant.bin";
  std::mt19937_64 random(20240607);
  size_t loaded = 0;
  for (size_t round = 0; round < rounds; ++round) {
    write_bytes(path, mutate(whole, random));
    try {
      const Checkpoint checkpoint = Checkpoint::open(path);
      for (const TensorInfo& info : checkpoint.tensors()) checkpoint.get(info.name).clone();
      ++loaded;
    } catch (const std::runtime_error&) {
    }
  }
  return loaded;
}

TEST_CASE("mutated weight files load or are refused", "[weights][fuzz]") {
  for (const char* name :
       {"expected.safetensors", "plain_zip.pth", "plain_legacy.pth", "nested_legacy.pth"}) {
    INFO(name);
    const size_t loaded = survivors(name, 2000);
    CHECK(loaded > 0);     // some changes hit only values ...
    CHECK(loaded < 2000);  // ... and some the structure
  }
}

}  // namespace zoo::weights::testing::fuzz
