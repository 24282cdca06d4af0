#include "app/sha256.h"

#include "tests/catch.h"
#include "tests/cli/program.h"

namespace zoo::test::sha256_tests {

TEST_CASE("SHA-256 gives the digests of FIPS 180-4", "[report]") {
  CHECK(app::sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(app::sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(app::sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(app::sha256(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("pieces and files give the digest of the whole, at every length around a block", "[report]") {
  const Scratch scratch;
  for (size_t length = 50; length < 135; ++length) {
    const std::string text(length, 'x');
    app::Sha256 hash;
    for (size_t at = 0; at < length; at += 7) hash.add(std::string_view(text).substr(at, 7));
    CHECK(hash.hex() == app::sha256(text));
  }
  CHECK(app::sha256_of_file(scratch.write("a", "abc")) == app::sha256("abc"));
  CHECK_THROWS_AS(app::sha256_of_file(scratch / "absent"), std::runtime_error);
}

}  // namespace zoo::test::sha256_tests
