#!/usr/bin/env node
// The command `heddle`: finds the program in the package of this platform, and makes way for it.
//
// Where Node.js can replace its own process (from 22.15), the program takes this one's place. Elsewhere it is a child: signals go on to it, and
// this process ends as it does. Nothing is downloaded, and no script runs at installation.
"use strict";

const PACKAGES = { "linux x64": "@heddle/cli-linux-x64-gnu" };

function program() {
  const platform = `${process.platform} ${process.arch}`;
  const name = PACKAGES[platform];
  if (name === undefined) {
    fail(`there is no heddle for ${platform}; there is one for ${Object.keys(PACKAGES).join(", ")}`);
  }
  try {
    return require.resolve(`${name}/bin/heddle`);
  } catch {
    fail(`the package ${name} is not installed; install it together with @heddle/cli (it needs glibc)`);
  }
}

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}

// Whether Ctrl-C of a terminal can reach the child by itself.
function hasTerminal() {
  const fs = require("node:fs");
  try {
    fs.closeSync(fs.openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}

function runAsChild(file, args) {
  const child = require("node:child_process").spawn(file, args, { stdio: "inherit", argv0: "heddle" });
  const terminal = hasTerminal();
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"]) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to the child, too. Sent on, it would be the second one, at which heddle stops without finishing what runs.
      if (signal !== "SIGINT" || !terminal) {
        child.kill(signal);
      }
    });
  }
  child.on("error", (error) => fail(`failed to start ${file}: ${error.message}`));
  child.on("exit", (code, signal) => {
    if (signal === null) {
      process.exit(code);
    }
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

const file = program();
const args = process.argv.slice(2);
if (typeof process.execve === "function") {
  process.execve(file, ["heddle", ...args], process.env);
} else {
  runAsChild(file, args);
}
