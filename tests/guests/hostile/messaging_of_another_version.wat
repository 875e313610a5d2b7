;; Imports a version of messaging that is not answered. It must be refused, with the version that is.
(component
  (import "wasi:messaging/producer@0.3.0" (instance)))
