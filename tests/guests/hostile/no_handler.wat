;; A component that exports nothing. It must be refused.
(component)
