"""GDDR6-AiM: DRAM whose banks multiply a row by a vector in a shared buffer, in bf16."""
