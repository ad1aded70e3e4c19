//! JSON Schemas and validation of every input of the container driver contract.
