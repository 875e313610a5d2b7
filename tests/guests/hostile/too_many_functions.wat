;; More functions than a module may have. It must be refused.
(component
  (core module (@repeat 1000001 (func))))
