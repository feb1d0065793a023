"""Writes what `facemend doctor` expects of the shipped networks. Run it when a network changes."""

import json
from dataclasses import asdict

from facemend.reconstruction.demo import run_self_test
from facemend.reconstruction.model import shipped_model_path

if __name__ == "__main__":
    path = shipped_model_path().with_name("self_test.json")
    path.write_text(json.dumps(asdict(run_self_test())) + "\n", encoding="utf-8")
    print(path)
